#include "routing/name_text.h"

#include <cstring>

namespace slipway {

NameTexts::NameTexts(std::size_t max_bytes) : units_(max_bytes / kUnit) {
  if (units_.valid()) {
    units_.resize(1);  // reference 0 means none
  }
}

std::uint32_t NameTexts::add(const NameText& text) {
  for (const auto& part : text) {
    if (part.size() > kMaxComponentBytes) {
      return 0;
    }
  }
  if (text[0].empty() && text[1].empty() && text[2].empty()) {
    return 0;
  }
  const std::size_t size = units_for(text);
  std::uint32_t reference = free_[size];
  if (reference != 0) {
    std::memcpy(&free_[size], &units_[reference], sizeof reference);
  } else {
    if (units_.size() + size > units_.max()) {
      return 0;
    }
    reference = static_cast<std::uint32_t>(units_.size());
    units_.resize(units_.size() + size);
  }
  char* at = units_[reference].bytes;
  std::array<std::uint16_t, 3> lengths;
  for (std::size_t i = 0; i < 3; ++i) {
    lengths[i] = static_cast<std::uint16_t>(text[i].size());
  }
  std::memcpy(at, lengths.data(), kHeader);
  at += kHeader;
  for (const auto& part : text) {
    std::memcpy(at, part.data(), part.size());
    at += part.size();
  }
  return reference;
}

NameText NameTexts::get(std::uint32_t reference) const {
  if (reference == 0) {
    return {};
  }
  const char* at = units_[reference].bytes;
  std::array<std::uint16_t, 3> lengths;
  std::memcpy(lengths.data(), at, kHeader);
  at += kHeader;
  NameText text;
  for (std::size_t i = 0; i < 3; ++i) {
    text[i] = {at, lengths[i]};
    at += lengths[i];
  }
  return text;
}

void NameTexts::remove(std::uint32_t reference) {
  if (reference == 0) {
    return;
  }
  const std::size_t size = units_for(get(reference));
  std::memcpy(&units_[reference], &free_[size], sizeof reference);
  free_[size] = reference;
}

}  // namespace slipway
