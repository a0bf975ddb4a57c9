#pragma once
// gRPC's status codes as they stand in trailers, and how HTTP status and grpc-message map ("gRPC over HTTP/2").

#include <cstdint>
#include <string>
#include <string_view>

namespace slipway {

namespace grpc_status {
inline constexpr int kOk = 0;
inline constexpr int kUnknown = 2;
inline constexpr int kInvalidArgument = 3;
inline constexpr int kPermissionDenied = 7;
inline constexpr int kResourceExhausted = 8;
inline constexpr int kUnimplemented = 12;
inline constexpr int kInternal = 13;
inline constexpr int kUnavailable = 14;
inline constexpr int kUnauthenticated = 16;
}  // namespace grpc_status

// "PERMISSION_DENIED"; "status 42" has none: "unknown".
[[nodiscard]] std::string_view grpc_status_name(int status);
// "gRPC status 7 PERMISSION_DENIED: deployment_name mismatch".
[[nodiscard]] std::string grpc_end_text(int status, std::string_view message);
// What a client makes of an HTTP status that came without a gRPC status.
[[nodiscard]] int grpc_status_of_http(int http_status);
[[nodiscard]] std::string grpc_message_encode(std::string_view text);  // percent-encoded, ASCII
[[nodiscard]] std::string grpc_message_decode(std::string_view text);  // lenient: an invalid escape stays as it is
// 0 to 2^31 - 1, else -1.
[[nodiscard]] std::int32_t parse_status(std::string_view text);

}  // namespace slipway
