#pragma once
// Messages in the form in which every encoder writes them: known fields in ascending order, each at most once, texts in
// ASCII, application payloads. They are read without a loop over fields; anything else, wrong or only unusual, is left to the
// general reader, which alone decides what is refused. Private to the codec.

#include "edge/proto_message.h"

namespace slipway {

// Where the values of ttl and incoming_conn lie, if they are of one byte; else 0.
struct PlainMarks {
  std::uint32_t ttl_at = 0;
  std::uint32_t incoming_conn_at = 0;
};

// The last publish over some connection: one that has the very same bytes at the same places, but for the values of the fields below,
// is read by these alone. Any memory serves any connection; it changes no result.
struct PlainShape {
  static constexpr std::size_t kMostBytes = 1024;
  std::uint32_t size = 0;     // of the whole message; 0: none
  std::uint32_t others = 0;   // messages of other shapes, in a row
  std::uint64_t version = 0;  // counts those remembered here; 0: none yet
  std::uint32_t blob_at = 0;  // which ends the message
  Range id;                   // the value of message_id, if there is one
  PlainMarks marks;
  UpstreamMessage message;
  std::array<std::byte, kMostBytes> raw;  // up to the blob

  [[nodiscard]] bool read(Piece bytes, std::size_t message_bytes, UpstreamMessage* out) const;
};

// The names that came last over some connection: a message that has the very same bytes at the same place has the same names.
// Any memory serves any connection; it changes no result.
struct PlainNames {
  static constexpr std::size_t kMostBytes = 256;
  std::uint32_t at = 0;        // of the first name's key
  std::uint32_t bytes = 0;     // of both; 0: none
  std::uint32_t others = 0;    // messages with other names, in a row
  bool same = false;           // the message that was read last had these
  bool alike = false;          // ... and that shape
  bool header_fields = false;  // HeaderValues::has_header_fields behind them
  std::uint8_t run_count = 0;
  std::array<KeptRun, 2> runs;
  NameFields source;
  NameFields destination;
  std::array<std::byte, kMostBytes> raw;
  std::uint32_t covered_bytes = 0;  // for who reads: what HeaderMac::covered_names() says of them; 0: not known
  std::uint64_t number = 0;         // ... and what stands for them
  std::array<std::byte, kMostBytes> covered;
  PlainShape shape;  // of a message with these names
};

// Reads a Publish, Subscribe or Unsubscribe of `size` bytes that begins with these and lies in them but for its blob, whose end
// may be the message's. False: it is of another form, *message is of no use, and
// nothing is said about it. Never true for a session header of which a value does not fit a frame header.
// marks: null, or where to say more about a message that was read. names: null, or what was read before.
[[nodiscard]] bool read_plain(Piece bytes, std::size_t size, UpstreamMessage* message, PlainMarks* marks = nullptr, PlainNames* names = nullptr);

// Stretches that a header adds at most.
inline constexpr std::size_t kPlainHeaderRuns = 5;

// The same for a SLIM header alone, which lies in one piece and begins at offset `at` of the message; bytes behind it, up to
// `readable_end`, may be touched. *message has had no header before and has room for kPlainHeaderRuns;
// on false it is as it was.
[[nodiscard]] bool read_plain_header(Piece header, const std::byte* readable_end, std::uint32_t at, UpstreamMessage* message);

}  // namespace slipway
