/*
 * pilotfish-cni: the chained CNI plugin that a container runtime starts on a node.
 *
 *     runtime ─stdin, CNI_*─▶ this ─socket─▶ the node's `pilotfish cni install` ─▶ rules in the pod's namespace
 *             ◀─stdout, exit─      ◀─────────
 *
 * It decides nothing: what it was asked goes to the DaemonSet's process, and what that answers is the answer. It is
 * static, as a host need have no Python and no library. Where nobody answers, a pod is not added (the runtime tries
 * again), as it would run without its rules; unless its namespace is one of those that have no pod of the mesh, which
 * the network configuration names, so that what a node needs starts without us.
 *
 * Request:  "NAME=VALUE\0" for each of CNI_COMMAND ..., "\0", then the configuration; the end is a shutdown.
 * Answer:   one byte, the exit code, then what goes to standard output.
 *
 * Source: https://www.cni.dev/docs/spec/ (1.1.0)
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { TRY_AGAIN = 11, IO_FAILURE = 5, BAD_CONFIG = 7 };           /* CNI's well-known error codes */
enum { LARGEST = 4 << 20, PATIENCE = 90 };                         /* bytes of one message; seconds for an answer */

struct span { const char *at; size_t length; };                    /* at 0: there is none */
struct text { char *at; size_t length; };

static const struct span NOTHING;

/* ---- JSON: the members of an object, found without a copy. The runtime has checked that it is JSON. ---- */

static const char *skip_space(const char *p, const char *end) {
	while (p < end && strchr(" \t\r\n", *p)) p++;
	return p;
}

static const char *skip_string(const char *p, const char *end) {
	for (p++; p < end && *p != '"'; p++)
		if (*p == '\\') p++;
	return p < end ? p + 1 : end;
}

static const char *skip_value(const char *p, const char *end) {
	int depth = 0;
	do {
		p = skip_space(p, end);
		if (p >= end) return end;
		if (*p == '"') { p = skip_string(p, end); continue; }
		if (*p == '{' || *p == '[') depth++;
		if (*p == '}' || *p == ']') depth--;
		if (strchr("{}[]:,", *p)) { p++; continue; }
		while (p < end && !strchr("{}[]:,\" \t\r\n", *p)) p++;
	} while (depth > 0);
	return p;
}

static struct span find_member(struct span object, const char *name) {
	const char *p = object.at, *end = p + object.length;
	if (!p || (p = skip_space(p, end)) >= end || *p++ != '{') return NOTHING;
	for (;;) {
		const char *key = skip_space(p, end);
		if (key >= end || *key != '"') return NOTHING;
		const char *after = skip_string(key, end);
		p = skip_space(after, end);
		if (p >= end || *p++ != ':') return NOTHING;
		const char *value = skip_space(p, end);
		p = skip_value(value, end);
		if ((size_t)(after - key) == strlen(name) + 2 && !memcmp(key + 1, name, strlen(name)))
			return (struct span){value, p - value};
		p = skip_space(p, end);
		if (p >= end || *p++ != ',') return NOTHING;
	}
}

static struct span unquote(struct span value) {                    /* what we write ourselves has no escapes */
	return value.at && value.length >= 2 && *value.at == '"' ? (struct span){value.at + 1, value.length - 2} : NOTHING;
}

static int array_has(struct span array, struct span wanted) {
	const char *p = array.at, *end = p + array.length;
	if (!p || !wanted.at || *p != '[') return 0;
	for (p = skip_space(p + 1, end); p < end && *p == '"'; p = skip_space(p, end)) {
		const char *after = skip_string(p, end);
		if ((size_t)(after - p) == wanted.length + 2 && !memcmp(p + 1, wanted.at, wanted.length)) return 1;
		p = skip_space(after, end);
		if (p < end && *p == ',') p++;
		p = skip_space(p, end);
	}
	return 0;
}

/* ---- files and sockets ---- */

static int read_all(int from, struct text *into) {
	for (size_t room = 0;;) {
		if (into->length == room) {
			if (room >= LARGEST) return errno = EMSGSIZE, -1;
			char *more = realloc(into->at, (room = room ? room * 2 : 1 << 16) + 1);
			if (!more) return -1;
			into->at = more;
		}
		ssize_t got = read(from, into->at + into->length, room - into->length);
		if (got < 0 && errno == EINTR) continue;
		if (got < 0) return -1;
		if (!got) return into->at[into->length] = 0;
		into->length += got;
	}
}

static int write_all(int to, const char *data, size_t length) {
	while (length) {
		ssize_t put = write(to, data, length);
		if (put < 0 && errno == EINTR) continue;
		if (put < 0) return -1;
		data += put, length -= put;
	}
	return 0;
}

static const char *const PASSED[] = {"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"};

static int send_request(int to, struct span config) {
	for (size_t i = 0; i < sizeof PASSED / sizeof *PASSED; i++) {
		const char *value = getenv(PASSED[i]);
		if (value && (write_all(to, PASSED[i], strlen(PASSED[i])) || write_all(to, "=", 1) ||
		              write_all(to, value, strlen(value) + 1)))
			return -1;
	}
	return write_all(to, "", 1) || write_all(to, config.at, config.length) || shutdown(to, SHUT_WR);
}

static int ask(struct span path, struct span config, struct text *answer) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = PATIENCE};
	if (!path.at || path.length >= sizeof address.sun_path) return errno = EINVAL, -1;
	memcpy(address.sun_path, path.at, path.length);
	int to = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (to < 0 || setsockopt(to, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) ||
	    setsockopt(to, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) ||
	    connect(to, (struct sockaddr *)&address, sizeof address) || send_request(to, config) || read_all(to, answer))
		return -1;
	return answer->length ? 0 : (errno = ECONNRESET, -1);
}

/* ---- what is said where nobody else says it ---- */

static struct span pod_namespace(const char *arguments) {
	static const char KEY[] = "K8S_POD_NAMESPACE=";
	for (const char *p = arguments; p && *p; p = *(p + strcspn(p, ";")) ? p + strcspn(p, ";") + 1 : 0)
		if (!strncmp(p, KEY, sizeof KEY - 1)) return (struct span){p + sizeof KEY - 1, strcspn(p + sizeof KEY - 1, ";")};
	return NOTHING;
}

static int fail(struct span version, int code, const char *message, struct span details, const char *why) {
	if (!version.at) version = (struct span){"1.0.0", 5};
	printf("{\"cniVersion\":\"%.*s\",\"code\":%d,\"msg\":\"%s\",\"details\":\"%.*s: %s\"}\n", (int)version.length,
	       version.at, code, message, (int)details.length, details.at ? details.at : "", why);
	return 1;
}

static int answer_alone(const char *command, struct span config, struct span socket, const char *why) {
	struct span version = unquote(find_member(config, "cniVersion"));
	struct span spared = find_member(config, "excludeNamespaces"), passed = find_member(config, "prevResult");
	if (!strcmp(command, "DEL") || !strcmp(command, "GC")) return 0;   /* the rules end with the namespace */
	if (array_has(spared, pod_namespace(getenv("CNI_ARGS")))) {
		if (!strcmp(command, "ADD") && passed.at) printf("%.*s\n", (int)passed.length, passed.at);
		return 0;
	}
	return fail(version, TRY_AGAIN,
	            "the pod can't be captured: the pod of DaemonSet pilotfish-cni on this node does not answer, and "
	            "without it a pod of the mesh would run without its rules; see that it runs, or remove the plugin "
	            "pilotfish-cni from the node's network configuration",
	            socket, why);
}

int main(void) {
	struct text given = {0}, answer = {0};
	const char *command = getenv("CNI_COMMAND");
	if (!command) {
		fputs("pilotfish-cni is a CNI plugin: a container runtime starts it, with CNI_COMMAND\n", stderr);
		return 2;
	}
	if (!strcmp(command, "VERSION"))
		return puts("{\"cniVersion\":\"1.0.0\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}") < 0;
	if (read_all(STDIN_FILENO, &given))
		return fail(NOTHING, IO_FAILURE, "the network configuration can't be read", NOTHING, strerror(errno));
	struct span config = {given.at, given.length}, path = unquote(find_member(config, "socket"));
	if (!path.at)
		return fail(NOTHING, BAD_CONFIG, "pilotfish-cni's network configuration has no socket", NOTHING, "socket");
	if (ask(path, config, &answer)) return answer_alone(command, config, path, strerror(errno));
	return write_all(STDOUT_FILENO, answer.at + 1, answer.length - 1) ? 1 : answer.at[0];
}
