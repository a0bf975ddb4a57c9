#pragma once
// The floor of the benchmark `edge`: the least that a server can do that speaks HTTP/2 by nghttp2 over sockets. It answers
// the first request on each connection, and hands the bytes of the first connection's stream, the publisher's, on to the
// streams of all others. It looks at nothing: no message is taken apart, checked, signed or routed. With `macs` it does the part of
// that which costs most: it reads each message and computes two header MACs, and throws them away.

#include <cstddef>

namespace slipway::bench {

// Serves, from a listening socket, one publisher and then so many subscribers, until one of them goes. One thread, epoll.
[[noreturn]] void run_edge_relay(int listener, std::size_t subscribers, bool macs);

}  // namespace slipway::bench
