#pragma once
// A bounded ring of records between two threads: one writes, one reads, neither ever blocks or allocates.
// Between the control thread and each worker there are two: commands down, events up (messages.h).

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "bounds.h"

namespace slipway {

class MailRing {
 public:
  // A power of two of at least 4 x kMaxMailBytes. Allocates; called before the threads start.
  explicit MailRing(std::size_t capacity_bytes);

  struct Record {
    std::uint16_t type;
    std::span<const std::byte> bytes;  // valid until pop()
  };

  // Writer. Appends one record made of up to two parts; false when the ring is full (nothing is written).
  [[nodiscard]] bool push(std::uint16_t type, std::span<const std::byte> head, std::span<const std::byte> tail = {});
  [[nodiscard]] std::size_t free_bytes() const;  // for a writer that keeps a reserve for important records

  // Reader. The oldest record, or nothing; pop() releases it.
  [[nodiscard]] std::optional<Record> peek();
  void pop();
  [[nodiscard]] bool empty() const;

 private:
  struct Header {
    std::uint32_t bytes;  // of the record without this header
    std::uint16_t type;   // kSkip: the rest of the buffer is unused, go on at its start
    std::uint16_t spare;
  };
  static constexpr std::uint16_t kSkip = 0xFFFF;

  std::unique_ptr<std::byte[]> buffer_;
  std::size_t capacity_;
  // Positions only grow; each side keeps a copy of the other's, so that the shared line is read only when needed.
  alignas(64) std::atomic<std::uint64_t> written_{0};
  std::uint64_t read_seen_ = 0;
  alignas(64) std::atomic<std::uint64_t> read_{0};
  std::uint64_t written_seen_ = 0;
};

}  // namespace slipway
