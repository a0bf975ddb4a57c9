// As edge_transport_fuzz.cc, on WebSocket connections: the HTTP/1.1 handshake of both sides and frames behind it.

#define EDGE_FUZZ_CHOICE(byte) ((byte) | 2)
#include "edge_transport_fuzz.cc"
