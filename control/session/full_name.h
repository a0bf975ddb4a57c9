#pragma once
// A name as sessions use it: hashes and id to compare, text to send and to show, cheap to copy.
//
// Upstream's control plane compares the text as well, so a member always sends the same text with its name; we compare
// only what the dataplane routes by. Text may be missing in what a peer sends. Any thread; copies share the text.

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "frame/name.h"

namespace slipway {

class FullName {
 public:
  using Text = std::array<std::string, 3>;

  FullName() = default;
  explicit FullName(const TextName& name) : hashed_(name.hashed()), text_(std::make_shared<const Text>(name.component)) {}
  FullName(const Name& hashed, std::shared_ptr<const Text> text) : hashed_(hashed), text_(std::move(text)) {}

  [[nodiscard]] const Name& hashed() const { return hashed_; }
  [[nodiscard]] NameId id() const { return hashed_.id; }
  [[nodiscard]] const std::shared_ptr<const Text>& text_components() const { return text_; }
  // A name that was never set: no service hashes to three zeros.
  [[nodiscard]] bool empty() const { return hashed_.component == std::array<std::uint64_t, 3>{}; }
  [[nodiscard]] bool same_service(const FullName& other) const { return hashed_.component == other.hashed_.component; }
  [[nodiscard]] FullName with_id(NameId id) const { return {Name{hashed_.component, id}, text_}; }
  [[nodiscard]] FullName service() const { return with_id(kNullId); }
  // For people: text where there is any.
  [[nodiscard]] std::string shown() const {
    return text_ ? TextName{*text_, hashed_.id}.text() : hashed_text(hashed_);
  }

  friend bool operator==(const FullName& a, const FullName& b) { return a.hashed_ == b.hashed_; }

 private:
  Name hashed_{};
  std::shared_ptr<const Text> text_;
};

struct NameHash {
  std::size_t operator()(const Name& name) const {
    return static_cast<std::size_t>(name.id.low ^ (name.id.high * 0x9E3779B97F4A7C15u) ^ (name.component[2] * 0xD6E8FEB86659FD93u) ^
                                    name.component[1]);
  }
};

}  // namespace slipway
