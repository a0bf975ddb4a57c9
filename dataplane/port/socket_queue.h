#pragma once
// Frames that wait to be sent on one stream: a list of chunks from a bounded pool of the worker, so that a queue may
// be long, many may be empty, and nobody allocates. Owner thread only.

#include <sys/mman.h>

#include <cassert>
#include <cstddef>
#include <cstdint>

struct rte_mbuf;

namespace slipway {

struct QueueChunk {
  static constexpr std::uint32_t kFrames = 63;
  QueueChunk* next;
  rte_mbuf* frame[kFrames];
};
static_assert(sizeof(QueueChunk) == 512);

class QueueChunkPool {
 public:
  explicit QueueChunkPool(std::uint32_t chunks)
      : count_(chunks),
        memory_(static_cast<QueueChunk*>(mmap(nullptr, chunks * sizeof(QueueChunk), PROT_READ | PROT_WRITE,
                                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    assert(memory_ != MAP_FAILED);
  }
  ~QueueChunkPool() { munmap(memory_, count_ * sizeof(QueueChunk)); }
  QueueChunkPool(const QueueChunkPool&) = delete;
  QueueChunkPool& operator=(const QueueChunkPool&) = delete;

  [[nodiscard]] QueueChunk* take() {
    QueueChunk* chunk = free_;
    if (chunk != nullptr) {
      free_ = chunk->next;
    } else if (touched_ < count_) {
      chunk = memory_ + touched_++;
    } else {
      return nullptr;
    }
    chunk->next = nullptr;
    return chunk;
  }
  void put(QueueChunk* chunk) {
    chunk->next = free_;
    free_ = chunk;
  }

 private:
  std::uint32_t count_;
  std::uint32_t touched_ = 0;  // chunks ever used: the rest of the memory is not resident
  QueueChunk* memory_;
  QueueChunk* free_ = nullptr;
};

class FrameQueue {
 public:
  [[nodiscard]] bool empty() const { return head_ == tail_ && begin_ == end_; }
  [[nodiscard]] rte_mbuf* front() const { return head_->frame[begin_]; }

  // False: the pool has no chunk left.
  [[nodiscard]] bool push(QueueChunkPool& pool, rte_mbuf* frame) {
    if (tail_ == nullptr || end_ == QueueChunk::kFrames) {
      QueueChunk* chunk = pool.take();
      if (chunk == nullptr) {
        return false;
      }
      if (tail_ == nullptr) {
        head_ = chunk;
        begin_ = 0;
      } else {
        tail_->next = chunk;
      }
      tail_ = chunk;
      end_ = 0;
    }
    tail_->frame[end_++] = frame;
    return true;
  }

  void pop(QueueChunkPool& pool) {
    ++begin_;
    if (head_ == tail_) {
      if (begin_ == end_) {
        pool.put(head_);
        head_ = tail_ = nullptr;
        begin_ = end_ = 0;
      }
    } else if (begin_ == QueueChunk::kFrames) {
      QueueChunk* chunk = head_;
      head_ = chunk->next;
      begin_ = 0;
      pool.put(chunk);
    }
  }

  // Walks from the front without popping.
  class Cursor {
   public:
    explicit Cursor(const FrameQueue& queue) : queue_(&queue), chunk_(queue.head_), at_(queue.begin_) {}
    [[nodiscard]] bool done() const { return chunk_ == nullptr || (chunk_ == queue_->tail_ && at_ == queue_->end_); }
    [[nodiscard]] rte_mbuf* frame() const { return chunk_->frame[at_]; }
    void next() {
      if (++at_ == QueueChunk::kFrames && chunk_ != queue_->tail_) {
        chunk_ = chunk_->next;
        at_ = 0;
      }
    }

   private:
    const FrameQueue* queue_;
    const QueueChunk* chunk_;
    std::uint32_t at_;
  };

 private:
  QueueChunk* head_ = nullptr;
  QueueChunk* tail_ = nullptr;
  std::uint32_t begin_ = 0;
  std::uint32_t end_ = 0;
};

}  // namespace slipway
