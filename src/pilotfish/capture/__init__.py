"""What a pod's traffic capture is, and the packet-filter rules that it comes to. No kernel: `runtime.capture` has that.

    document ─parse_spec─▶ CaptureSpec | Problems          (of a pod's annotations: `inject`)
    CaptureSpec ─rules─────────▶ RuleSet ─render_iptables─▶ iptables-restore text ─▶ kernel
                ─native_rules──▶ RuleSet ─render_nft──────▶ nft transaction ───────▶ kernel
                                 RuleSet ◀─parse_iptables, parse_nft── what it has ◀─┘
    RuleSet, Connection ─evaluate─▶ Evaluation: the verdict, and each rule visited on the way to it

Chains, their order and their names are Istio's, so that what people know about ISTIO_OUTPUT holds here. `nat`
redirects, `mangle` marks (TPROXY), `raw` sorts DNS into conntrack zones. A RuleSet is what the kernel holds in the end,
not the commands that lead there; rules are written and read in iptables' own words (`rule`).
"""

from pilotfish.capture.connection import Connection, Direction, State
from pilotfish.capture.diff import Difference, diff
from pilotfish.capture.document import parse_spec
from pilotfish.capture.evaluate import Evaluator, evaluate
from pilotfish.capture.generate import native_rules, rules
from pilotfish.capture.iptables import parse_iptables, render_iptables
from pilotfish.capture.nft import NATIVE_PREFIX, parse_nft, render_nft
from pilotfish.capture.nft_rule import render_native_rule
from pilotfish.capture.rule import Counters, Rule, parse_rule, render_rule
from pilotfish.capture.ruleset import OWN_CHAINS, Chain, RuleSet, Table, family_of
from pilotfish.capture.spec import ALL, CaptureSpec, Mode
from pilotfish.capture.verdict import (
    Accepted,
    Dropped,
    Evaluation,
    Redirected,
    Tproxied,
    Translated,
    Unknown,
    Verdict,
    Visit,
    VisitEvent,
)

__all__ = [
    "ALL",
    "NATIVE_PREFIX",
    "OWN_CHAINS",
    "Accepted",
    "CaptureSpec",
    "Chain",
    "Connection",
    "Counters",
    "Difference",
    "Direction",
    "Dropped",
    "Evaluation",
    "Evaluator",
    "Mode",
    "Redirected",
    "Rule",
    "RuleSet",
    "State",
    "Table",
    "Tproxied",
    "Translated",
    "Unknown",
    "Verdict",
    "Visit",
    "VisitEvent",
    "diff",
    "evaluate",
    "family_of",
    "native_rules",
    "parse_iptables",
    "parse_nft",
    "parse_rule",
    "parse_spec",
    "render_iptables",
    "render_native_rule",
    "render_nft",
    "render_rule",
    "rules",
]
