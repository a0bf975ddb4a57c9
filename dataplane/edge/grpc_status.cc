#include "edge/grpc_status.h"

#include <array>
#include <charconv>

namespace slipway {

std::string_view grpc_status_name(int status) {
  static constexpr std::array<std::string_view, 17> kNames{
      "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
      "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
      "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"};
  return status >= 0 && static_cast<std::size_t>(status) < kNames.size() ? kNames[static_cast<std::size_t>(status)] : "unknown";
}

std::string grpc_end_text(int status, std::string_view message) {
  std::string text = "gRPC status " + std::to_string(status) + " ";
  text += grpc_status_name(status);
  if (!message.empty()) {
    text += ": ";
    text += message;
  }
  return text;
}

int grpc_status_of_http(int http_status) {
  switch (http_status) {
    case 400: return grpc_status::kInternal;
    case 401: return grpc_status::kUnauthenticated;
    case 403: return grpc_status::kPermissionDenied;
    case 404: return grpc_status::kUnimplemented;
    case 429:
    case 502:
    case 503:
    case 504: return grpc_status::kUnavailable;
    default: return grpc_status::kUnknown;
  }
}

std::string grpc_message_encode(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte <= 0x7E && byte != '%') {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

std::string grpc_message_decode(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && text.size() - i > 2 && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::int32_t parse_status(std::string_view text) {
  std::int32_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 ? value : -1;
}

}  // namespace slipway
