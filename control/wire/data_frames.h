#pragma once
// Data messages on a short way. Of one sender in one session nearly all headers are equal byte for byte, so a header that was
// encoded, or decoded and accepted, is used again after comparing its bytes; what is left of a message are its ids, its payload type
// and its payload. Whatever does not look like that goes the long way (session_wire.h), which alone decides what is refused.
//
// The bytes are those of session_wire.h. Pure functions; a DataHeader belongs to one thread.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "session/session_message.h"
#include "wire/session_wire.h"

namespace slipway {

// --- in --------------------------------------------------------------------------------------------------------------
// Views into the input.
struct DataView {
  std::string_view header;        // SLIMHeader as it came: not looked into
  std::string_view payload_type;  // ASCII
  std::string_view blob;
};
// A native frame's body that holds header and application payload, in this order, and nothing else: no metadata, no unknown fields.
// Empty: something else.
[[nodiscard]] std::optional<DataView> view_data(std::span<const std::byte> body);

// --- out -------------------------------------------------------------------------------------------------------------
// The SLIMHeader of what goes from one name to another; made anew when names or token change.
class DataHeader {
 public:
  [[nodiscard]] std::string_view of(const FullName& source, const FullName& destination, std::string_view identity);

 private:
  FullName source_;
  FullName destination_;
  std::string identity_;
  std::string bytes_;  // empty: none yet
};
// All of a frame's body that stands before the payload's bytes, which end it. Only for messages without metadata.
void encode_data_lead(std::string& to, std::string_view header, std::string_view payload_type, std::size_t blob_bytes);

}  // namespace slipway
