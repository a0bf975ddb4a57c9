#include "message/reader.h"

#include "crypto/vector_header.h"

namespace slipway::mls {

View Reader::read_bytes(size_t size) {
  if (!ok()) {
    return {};
  }
  if (size > remaining()) {
    fail(ErrorCode::kMalformed, "reading a struct: it ends too early");
    return {};
  }
  View bytes(position_, size);
  position_ += size;
  return bytes;
}

uint64_t Reader::read_integer(size_t size) {
  uint64_t value = 0;
  for (uint8_t byte : read_bytes(size)) {
    value = value << 8 | byte;
  }
  return value;
}

size_t Reader::read_length() {
  size_t first = read_integer(1);
  if (!ok()) {
    return 0;
  }
  size_t length = first & 0x3f;
  size_t header = 1;
  switch (first >> 6) {
    case 0: break;
    case 1:
      header = 2;
      length = length << 8 | read_integer(1);
      break;
    case 2:
      header = 4;
      length = length << 24 | read_integer(3);
      break;
    default: fail(ErrorCode::kMalformed, "reading a vector: length header with prefix 11"); return 0;
  }
  if (ok() && header != length_header_size(length)) {
    fail(ErrorCode::kMalformed, "reading a vector: length header longer than needed");
  }
  if (ok() && length > remaining()) {
    fail(ErrorCode::kMalformed, "reading a vector: longer than what contains it");
  }
  return ok() ? length : 0;
}

void Reader::fail(ErrorCode code, const char* text) {
  if (ok()) {
    error_ = Error{code, text};
  }
}

Status Reader::status() const {
  if (error_) {
    return mls::fail(*error_);
  }
  return {};
}

Status Reader::finish() {
  if (ok() && !at_end()) {
    fail(ErrorCode::kMalformed, "reading a struct: bytes left behind it");
  }
  return status();
}

}  // namespace slipway::mls
