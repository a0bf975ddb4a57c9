#pragma once
// Bytes on their way out of one connection: a queue of segments that lie in small chunks of ours (frame headers, short
// messages, TLS records) or in the caller's memory (the rest of a message), which is given back when it was sent.
//
// Short messages are copied: they lie one after another in a chunk and leave as one segment. Owner thread.

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "edge/transport_memory.h"

namespace slipway {

// Called once for each borrowed message when its bytes are no longer looked at, sent or not.
using ReleaseFunction = void (*)(void* context, std::uint64_t token);

struct OutputChunk {
  std::uint32_t references;  // segments that lie in it, and the store while it is being filled
  std::uint32_t used;
  std::uint64_t pad;
  [[nodiscard]] std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }
};
static_assert(sizeof(OutputChunk) == 16);

// What all queues of one connection share: where chunks come from, which one is being filled, whom to tell.
class OutputStore {
 public:
  static constexpr std::size_t kChunkBytes = 8192 - 2 * sizeof(OutputChunk);  // with both headers one 8 KiB block

  OutputStore(TransportMemory& memory, ReleaseFunction release, void* context)
      : memory_(memory), release_(release), context_(context) {}
  ~OutputStore() { drop_filling(); }
  OutputStore(const OutputStore&) = delete;
  OutputStore& operator=(const OutputStore&) = delete;

  // A place for at least 1 and at most `bytes` bytes; nullptr: no memory.
  [[nodiscard]] std::byte* room(std::size_t bytes, std::size_t& got);
  // The first `bytes` of that place were written: their chunk, with one reference more.
  [[nodiscard]] OutputChunk* keep(std::size_t bytes) {
    filling_->used += static_cast<std::uint32_t>(bytes);
    ++filling_->references;
    return filling_;
  }
  // Further bytes of a segment that lies in the chunk being filled.
  void extend(std::size_t bytes) { filling_->used += static_cast<std::uint32_t>(bytes); }
  [[nodiscard]] const OutputChunk* filling() const { return filling_; }

  void unref(OutputChunk* chunk) {
    if (--chunk->references == 0) {
      memory_.release(chunk);
    }
  }
  // Nothing is under way: the chunk being filled starts again, or is given back.
  void rest();
  void tell(std::uint64_t token) const { release_(context_, token); }
  [[nodiscard]] TransportMemory& memory() { return memory_; }

 private:
  void drop_filling();

  TransportMemory& memory_;
  ReleaseFunction release_;
  void* context_;
  OutputChunk* filling_ = nullptr;
};

struct Segment {
  enum Kind : std::uint32_t { kChunk, kBorrowed, kBorrowedLast };
  const std::byte* data;
  std::uint32_t bytes;
  Kind kind;
  union {
    OutputChunk* chunk;   // kChunk
    std::uint64_t token;  // kBorrowedLast
  };
};
static_assert(sizeof(Segment) == 24);

class OutputQueue {
 public:
  explicit OutputQueue(OutputStore& store) : store_(store) {}
  ~OutputQueue() { clear(); }
  OutputQueue(const OutputQueue&) = delete;
  OutputQueue& operator=(const OutputQueue&) = delete;

  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] std::size_t segments() const { return segments_; }
  [[nodiscard]] bool empty() const { return segments_ == 0; }

  // Room for `bytes` bytes in one place at the end, to be written at once; nullptr: none in one place, or no memory.
  [[nodiscard]] std::byte* append_room(std::size_t bytes);
  // False: no memory; what was appended before stays.
  [[nodiscard]] bool append_copy(std::span<const std::byte> bytes);
  [[nodiscard]] bool append_borrowed(std::span<const std::byte> bytes, bool last, std::uint64_t token);
  // The first `bytes` bytes of `from` (of the same store) to the end of this one.
  [[nodiscard]] bool move_from(OutputQueue& from, std::size_t bytes);

  // Fills `out` from the front without taking; returns how many were filled.
  [[nodiscard]] std::size_t gather(std::span<iovec> out) const;
  // The first `bytes` bytes were sent.
  void consume(std::size_t bytes);
  // Copies from the front without taking: at most `out.size()` bytes.
  [[nodiscard]] std::size_t peek(std::span<std::byte> out) const;
  [[nodiscard]] std::span<const std::byte> front() const {
    const Segment& head = head_->segment[begin_];
    return {head.data, head.bytes};
  }
  void clear();
  // Throws away what has not left for `sent` yet. A message of which `sent` still holds a part is told released only
  // when that part was consumed. False: no memory to note that; nothing was thrown away.
  [[nodiscard]] bool discard(OutputQueue& sent);

 private:
  struct Block {
    static constexpr std::uint32_t kSegments = 20;
    Block* next;
    std::uint64_t pad;
    Segment segment[kSegments];
  };
  static_assert(sizeof(Block) <= 512 - 16);

  [[nodiscard]] Segment* push();
  void pop();
  [[nodiscard]] bool extend_or_push(std::byte* to, std::size_t bytes);
  void finish(const Segment& segment) {
    if (segment.kind == Segment::kChunk) {
      store_.unref(segment.chunk);
    } else if (segment.kind == Segment::kBorrowedLast) {
      store_.tell(segment.token);
    }
  }

  OutputStore& store_;
  Block* head_ = nullptr;
  Block* tail_ = nullptr;
  std::uint32_t begin_ = 0;
  std::uint32_t end_ = 0;
  std::size_t segments_ = 0;
  std::size_t bytes_ = 0;
  bool cut_ = false;  // the message at the front has lost its first bytes to move_from()
};

}  // namespace slipway
