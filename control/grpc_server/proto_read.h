#pragma once
// Reads protobuf fields of gRPC services with their bounds. protozero throws on what is malformed and asserts on wire types that
// were not looked at: fields are taken by these, and what is thrown ends in decode_message(). Inner header of codecs.

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <protozero/pbf_reader.hpp>
#include <span>
#include <string>
#include <string_view>

#include "frame/utf8.h"

namespace slipway::proto_read {

using protozero::pbf_reader;

// What is wrong, on its way out of a codec.
struct Refused {
  std::string why;
};

[[noreturn]] inline void refuse(std::string why) { throw Refused{std::move(why)}; }

inline std::string_view bytes_of(pbf_reader& field, std::size_t at_most, const char* what) {
  if (field.wire_type() != protozero::pbf_wire_type::length_delimited) {
    refuse(fmt::format("{} has the wrong form", what));
  }
  const auto view = field.get_view();
  if (view.size() > at_most) {
    refuse(fmt::format("{} has {} bytes; at most {} are taken", what, view.size(), at_most));
  }
  return {view.data(), view.size()};
}

inline std::string text_of(pbf_reader& field, std::size_t at_most, const char* what) {
  const auto view = bytes_of(field, at_most, what);
  if (!is_utf8(view)) {
    refuse(fmt::format("{} is not UTF-8", what));
  }
  return std::string(view);
}

inline std::uint64_t number_of(pbf_reader& field, const char* what) {
  if (field.wire_type() != protozero::pbf_wire_type::varint) {
    refuse(fmt::format("{} has the wrong form", what));
  }
  return field.get_uint64();
}

inline pbf_reader inside(std::string_view bytes) { return pbf_reader(bytes.data(), bytes.size()); }

// `read` takes a pbf_reader and gives the message. The error says what is wrong.
template <class Read>
auto decode_message(std::span<const std::byte> message, Read read) -> std::expected<decltype(read(pbf_reader())), std::string> {
  try {
    return read(pbf_reader(reinterpret_cast<const char*>(message.data()), message.size()));
  } catch (const Refused& refused) {
    return std::unexpected(refused.why);
  } catch (const protozero::exception& fault) {
    return std::unexpected(fmt::format("the message is no protobuf: {}", fault.what()));
  }
}

}  // namespace slipway::proto_read
