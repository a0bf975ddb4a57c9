#pragma once
// The memory of byte-stream connections: bounded, and taken from free lists once it has been in use, so that a
// connection in steady state does not come to the heap. One TransportMemory a worker; its nghttp2 sessions, output
// chunks and queues live in it. OpenSSL's memory is counted against the same bound (see the end of this file).
//
// Thread: allocate(), reallocate() and release() by the owning worker alone. account() may be read by anybody.
// Every object made from it must be gone before it is.

#include <nghttp2/nghttp2.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace slipway {

// Bytes counted against a bound. Lives until its owner is gone and the last byte was given back, from whichever thread:
// OpenSSL keeps some of what a connection made it allocate for longer than the connection.
class MemoryAccount {
 public:
  [[nodiscard]] static MemoryAccount* create(std::size_t limit_bytes) { return new MemoryAccount(limit_bytes); }
  void drop_owner() { unref(1); }

  // False: the bound would be passed, nothing was taken.
  [[nodiscard]] bool take(std::size_t bytes);
  void give(std::size_t bytes);

  [[nodiscard]] std::size_t used_bytes() const { return used_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t limit_bytes() const { return limit_; }
  [[nodiscard]] std::uint64_t refusals() const { return refusals_.load(std::memory_order_relaxed); }

 private:
  explicit MemoryAccount(std::size_t limit_bytes) : limit_(limit_bytes) {}
  void unref(std::uint64_t count);

  std::size_t limit_;
  std::atomic<std::size_t> used_{0};
  std::atomic<std::uint64_t> references_{1};  // the owner, and one an allocation
  std::atomic<std::uint64_t> refusals_{0};
};

class TransportMemory {
 public:
  explicit TransportMemory(std::size_t limit_bytes);
  ~TransportMemory();
  TransportMemory(const TransportMemory&) = delete;
  TransportMemory& operator=(const TransportMemory&) = delete;

  // nullptr: the bound is reached or the machine has no more. Aligned to 16 bytes.
  [[nodiscard]] void* allocate(std::size_t bytes);
  [[nodiscard]] void* allocate_zeroed(std::size_t count, std::size_t bytes);
  [[nodiscard]] void* reallocate(void* memory, std::size_t bytes);
  void release(void* memory);

  // Whether a new connection may be made: a tenth of the bound is kept for those that are there.
  [[nodiscard]] bool has_room() const { return account_->used_bytes() < account_->limit_bytes() / 10 * 9; }
  [[nodiscard]] const MemoryAccount& account() const { return *account_; }
  [[nodiscard]] MemoryAccount& account() { return *account_; }
  [[nodiscard]] nghttp2_mem* nghttp2() { return &nghttp2_; }

 private:
  // Four sizes to each power of two, from 32 bytes to 64 KiB; larger ones are the heap's.
  static constexpr std::size_t kSmallestShift = 5;
  static constexpr std::size_t kLargestShift = 16;
  static constexpr std::size_t kClasses = 1 + (kLargestShift - kSmallestShift) * 4;
  struct Header {
    Header* next;              // while free
    std::uint32_t size_class;  // index into free_, or kNoClass
    std::uint32_t bytes;       // of a large one, header included; of a class its size
  };
  static_assert(sizeof(Header) == 16);
  static constexpr std::uint32_t kNoClass = 0xFFFFFFFF;

  MemoryAccount* account_;
  std::array<Header*, kClasses> free_{};
  nghttp2_mem nghttp2_;
};

// Makes every allocation of OpenSSL in this process come through a counter: what is allocated while an
// OpensslMemoryScope of a thread is alive counts against that account, and is refused past its bound. Call before
// anything in the process has used OpenSSL, by one thread; false: too late, OpenSSL's memory is then not counted.
bool install_openssl_memory();

class OpensslMemoryScope {
 public:
  explicit OpensslMemoryScope(MemoryAccount* account);
  ~OpensslMemoryScope();
  OpensslMemoryScope(const OpensslMemoryScope&) = delete;
  OpensslMemoryScope& operator=(const OpensslMemoryScope&) = delete;

 private:
  MemoryAccount* before_;
};

}  // namespace slipway
