#include "routing/name_text.h"

#include <xxhash.h>

#include <cstring>

namespace slipway {

NameTexts::NameTexts(std::size_t max_bytes, std::uint64_t seed) : units_(max_bytes / kUnit), seed_(seed) {
  if (units_.valid()) {
    units_.resize(1);  // reference 0 means none
  }
}

template <class T>
T NameTexts::load(std::uint32_t reference) const {
  T value;
  std::memcpy(&value, units_[reference].bytes, sizeof value);
  return value;
}

template <class T>
void NameTexts::store(std::uint32_t reference, const T& value) {
  std::memcpy(units_[reference].bytes, &value, sizeof value);
}

std::uint32_t NameTexts::take(std::size_t size) {
  std::uint32_t reference = free_[size];
  if (reference != 0) {
    free_[size] = load<std::uint32_t>(reference);
  } else if (units_.size() + size <= units_.max()) {
    reference = static_cast<std::uint32_t>(units_.size());
    units_.resize(units_.size() + size);
  }
  return reference;
}

void NameTexts::give_back(std::uint32_t reference, std::size_t size) {
  store(reference, free_[size]);
  free_[size] = reference;
}

std::uint64_t NameTexts::head_hash(std::string_view organization, std::string_view name_space) const {
  const std::uint64_t first = XXH3_64bits_withSeed(organization.data(), organization.size(), seed_);
  return XXH3_64bits_withSeed(name_space.data(), name_space.size(), first);
}

NameText NameTexts::head_text(std::uint32_t head) const {
  const Head h = load<Head>(head);
  const char* at = units_[head].bytes + sizeof(Head);
  return {std::string_view(at, h.length[0]), std::string_view(at + h.length[0], h.length[1]), {}};
}

std::uint32_t NameTexts::take_head(std::string_view organization, std::string_view name_space) {
  const std::uint64_t hash = head_hash(organization, name_space);
  const auto found = heads_.find(hash);
  if (found != heads_.end()) {
    const NameText there = head_text(found->second);
    if (there[0] == organization && there[1] == name_space) {
      Head head = load<Head>(found->second);
      ++head.users;
      store(found->second, head);
      return found->second;
    }
  }
  const std::uint32_t reference = take(units(sizeof(Head) + organization.size() + name_space.size()));
  if (reference == 0) {
    return 0;
  }
  store(reference, Head{1, {static_cast<std::uint16_t>(organization.size()), static_cast<std::uint16_t>(name_space.size())}});
  char* at = units_[reference].bytes + sizeof(Head);
  std::memcpy(at, organization.data(), organization.size());
  std::memcpy(at + organization.size(), name_space.data(), name_space.size());
  heads_.try_emplace(hash, reference);
  return reference;
}

void NameTexts::release_head(std::uint32_t reference) {
  Head head = load<Head>(reference);
  if (--head.users != 0) {
    store(reference, head);
    return;
  }
  const NameText text = head_text(reference);
  const auto found = heads_.find(head_hash(text[0], text[1]));
  if (found != heads_.end() && found->second == reference) {
    heads_.erase(found);
  }
  give_back(reference, units(sizeof(Head) + head.length[0] + head.length[1]));
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
  const std::uint32_t head = take_head(text[0], text[1]);
  const std::uint32_t reference = head == 0 ? 0 : take(units(sizeof(Tail) + text[2].size()));
  if (reference == 0) {
    if (head != 0) {
      release_head(head);
    }
    return 0;
  }
  store(reference, Tail{head, static_cast<std::uint16_t>(text[2].size())});
  std::memcpy(units_[reference].bytes + sizeof(Tail), text[2].data(), text[2].size());
  return reference;
}

NameText NameTexts::get(std::uint32_t reference) const {
  if (reference == 0) {
    return {};
  }
  const Tail tail = load<Tail>(reference);
  NameText text = head_text(tail.head);
  text[2] = {units_[reference].bytes + sizeof(Tail), tail.length};
  return text;
}

void NameTexts::remove(std::uint32_t reference) {
  if (reference == 0) {
    return;
  }
  const Tail tail = load<Tail>(reference);
  release_head(tail.head);
  give_back(reference, units(sizeof(Tail) + tail.length));
}

}  // namespace slipway
