#pragma once
// What a connection tells its owner. Events are appended to one list a worker, by any call of the Transport; the owner
// drains it after each call. Plain data: no callback on the way of a message.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace slipway {

// Why a stream or a connection ended. Name, sentence.
#define SLIPWAY_TRANSPORT_FAULTS(X)                                                                       \
  X(kNone, "ended as it should")                                                                          \
  X(kPeerClosed, "the peer closed the connection")                                                        \
  X(kPeerReset, "the peer reset the stream")                                                              \
  X(kPeerStatus, "the peer ended the stream with an error status")                                        \
  X(kAsked, "ended by this side")                                                                         \
  X(kMessageTooLarge, "a message is larger than this connection takes")                                   \
  X(kBadMessageFlag, "a message is compressed or its flag byte is invalid")                               \
  X(kCutMessage, "the stream ended inside a message")                                                     \
  X(kUnknownMethod, "the request is not for a method that this port serves")                              \
  X(kNotAuthorized, "the request has no or wrong credentials")                                            \
  X(kDraining, "this side takes no new streams")                                                          \
  X(kTooManyStreams, "too many streams on one connection")                                                \
  X(kHeadersTooLarge, "the request's headers are larger than allowed")                                    \
  X(kNotHttp2, "the peer does not speak HTTP/2 here")                                                     \
  X(kHttp1, "the peer speaks HTTP/1 to a port that serves gRPC")                                          \
  X(kTlsToPlain, "the peer speaks TLS to a port without TLS")                                             \
  X(kHttp2Protocol, "the peer broke the rules of HTTP/2")                                                 \
  X(kFlood, "the peer sends control frames faster than allowed")                                          \
  X(kHandshakeTimeout, "the peer did not finish its handshake in time")                                   \
  X(kKeepaliveTimeout, "the peer does not answer keepalive pings")                                        \
  X(kTlsProtocol, "the TLS handshake or a TLS record is invalid")                                         \
  X(kTlsCertificate, "the peer's certificate was refused")                                                \
  X(kTlsRefused, "the peer refused the TLS handshake")                                                    \
  X(kPlainToTls, "the peer speaks without TLS to a port that wants TLS")                                  \
  X(kProxyRefused, "the HTTP proxy refused the tunnel")                                                   \
  X(kWebSocketHandshake, "the WebSocket handshake failed")                                                \
  X(kWebSocketProtocol, "the peer broke the rules of WebSocket")                                          \
  X(kWebSocketText, "the peer sent a text message where only binary ones are taken")                      \
  X(kNoMemory, "the memory for connections is used up")

enum class TransportFault : std::uint8_t {
#define X(name, text) name,
  SLIPWAY_TRANSPORT_FAULTS(X)
#undef X
};
[[nodiscard]] const char* transport_fault_text(TransportFault fault);

struct TransportError {
  TransportFault fault = TransportFault::kNone;
  std::string text;  // a sentence: what happened, and what to try where there is something to try
};

enum class TransportEventKind : std::uint8_t {
  kReady,         // the connection is up: TLS done, HTTP/2 settings received; a client may open streams
  kStreamOpen,    // server: the peer opened the method and was answered; client: the server answered 200
  kMessage,       // bytes of a message
  kStreamClosed,  // nothing more comes or goes on the stream; fault, and grpc_status when the peer gave one
  kHalfClosed,    // server with `calls`: the peer has said all, and waits for the answer
  kGoaway,        // the peer will take no further streams; those that are open go on
  kFailed,        // the connection is over: send what gather() still gives, then close; Transport::error()
};

struct TransportEvent {
  TransportEventKind kind;
  bool begin = false;                            // kMessage: its first bytes (may be all, may be none)
  bool end = false;                              // kMessage: its last bytes
  TransportFault fault = TransportFault::kNone;  // kStreamClosed, kFailed
  std::int32_t stream = 0;
  std::int32_t grpc_status = -1;                 // kStreamClosed: the peer's, -1: none came
  std::uint32_t message_bytes = 0;               // kMessage: of the whole message; 0 where the protocol does not say
                                                 //   (a fragmented WebSocket message)
  std::uint64_t connection = 0;                  // as given to Transport::create()
  std::span<const std::byte> bytes;              // kMessage: lies in the input or in the room given to feed(), valid
                                                 //   as long as the owner keeps these
};

using TransportEvents = std::vector<TransportEvent>;

}  // namespace slipway
