"""gRPC without its library, for the process that holds all agents: HTTP/2 by `h2`, an asyncio transport each.

`framing` cuts messages out of bytes; `client` makes one call on a connection of its own; `server` answers many on one.
A connection costs 15 kB; gRPC's library and protobuf would cost the process 20 MB.
Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""
