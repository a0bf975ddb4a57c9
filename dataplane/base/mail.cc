#include "base/mail.h"

#include <bit>
#include <cassert>
#include <cstring>

namespace slipway {
namespace {
constexpr std::size_t kAlign = 8;
constexpr std::size_t round_up(std::size_t n) { return (n + kAlign - 1) & ~(kAlign - 1); }
}  // namespace

MailRing::MailRing(std::size_t capacity_bytes)
    : buffer_(std::make_unique_for_overwrite<std::byte[]>(capacity_bytes)), capacity_(capacity_bytes) {
  assert(std::has_single_bit(capacity_bytes) && capacity_bytes >= 4 * kMaxMailBytes);
}

bool MailRing::push(std::uint16_t type, std::span<const std::byte> head, std::span<const std::byte> tail) {
  const std::size_t payload = head.size() + tail.size();
  assert(payload <= kMaxMailBytes && type != kSkip);
  const std::size_t need = sizeof(Header) + round_up(payload);
  const std::uint64_t written = written_.load(std::memory_order_relaxed);
  const std::size_t at = written & (capacity_ - 1);
  const std::size_t to_end = capacity_ - at;
  const std::size_t skip = to_end < need ? to_end : 0;
  if (written + skip + need - read_seen_ > capacity_) {
    read_seen_ = read_.load(std::memory_order_acquire);
    if (written + skip + need - read_seen_ > capacity_) {
      return false;
    }
  }
  std::byte* out = buffer_.get() + at;
  if (skip != 0) {
    const Header header{0, kSkip, 0};
    std::memcpy(out, &header, sizeof header);
    out = buffer_.get();
  }
  const Header header{static_cast<std::uint32_t>(payload), type, 0};
  std::memcpy(out, &header, sizeof header);
  if (!head.empty()) {
    std::memcpy(out + sizeof header, head.data(), head.size());
  }
  if (!tail.empty()) {
    std::memcpy(out + sizeof header + head.size(), tail.data(), tail.size());
  }
  written_.store(written + skip + need, std::memory_order_release);
  return true;
}

std::size_t MailRing::free_bytes() const {
  return capacity_ - static_cast<std::size_t>(written_.load(std::memory_order_relaxed) - read_.load(std::memory_order_acquire));
}

std::optional<MailRing::Record> MailRing::peek() {
  std::uint64_t read = read_.load(std::memory_order_relaxed);
  if (read == written_seen_) {
    written_seen_ = written_.load(std::memory_order_acquire);
    if (read == written_seen_) {
      return std::nullopt;
    }
  }
  Header header;
  std::memcpy(&header, buffer_.get() + (read & (capacity_ - 1)), sizeof header);
  if (header.type == kSkip) {
    read += capacity_ - (read & (capacity_ - 1));
    read_.store(read, std::memory_order_release);
    std::memcpy(&header, buffer_.get(), sizeof header);  // the writer publishes a skip together with its record
  }
  return Record{header.type, {buffer_.get() + (read & (capacity_ - 1)) + sizeof header, header.bytes}};
}

void MailRing::pop() {
  const std::uint64_t read = read_.load(std::memory_order_relaxed);
  Header header;
  std::memcpy(&header, buffer_.get() + (read & (capacity_ - 1)), sizeof header);
  assert(header.type != kSkip);
  read_.store(read + sizeof header + round_up(header.bytes), std::memory_order_release);
}

bool MailRing::empty() const {
  return read_.load(std::memory_order_relaxed) == written_.load(std::memory_order_acquire);
}

}  // namespace slipway
