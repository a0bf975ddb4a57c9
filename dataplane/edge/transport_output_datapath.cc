#include <algorithm>
#include <cassert>

#include "edge/transport_output.h"

namespace slipway {

std::byte* OutputStore::room(std::size_t bytes, std::size_t& got) {
  if (filling_ != nullptr && filling_->used == kChunkBytes) {
    drop_filling();
  }
  if (filling_ == nullptr) {
    filling_ = static_cast<OutputChunk*>(memory_.allocate(sizeof(OutputChunk) + kChunkBytes));
    if (filling_ == nullptr) {
      return nullptr;
    }
    filling_->references = 1;
    filling_->used = 0;
  }
  got = std::min(bytes, kChunkBytes - filling_->used);
  return filling_->data() + filling_->used;
}

void OutputStore::drop_filling() {
  if (filling_ != nullptr) {
    unref(filling_);
    filling_ = nullptr;
  }
}

void OutputStore::rest() { drop_filling(); }

Segment* OutputQueue::push() {
  if (tail_ == nullptr || end_ == Block::kSegments) {
    auto* block = static_cast<Block*>(store_.memory().allocate(sizeof(Block)));
    if (block == nullptr) {
      return nullptr;
    }
    block->next = nullptr;
    if (tail_ == nullptr) {
      head_ = block;
      begin_ = 0;
    } else {
      tail_->next = block;
    }
    tail_ = block;
    end_ = 0;
  }
  ++segments_;
  return &tail_->segment[end_++];
}

void OutputQueue::pop() {
  --segments_;
  ++begin_;
  if (segments_ == 0) {
    // The last block stays while there is traffic; clear() and an idle connection give it back.
    store_.memory().release(head_);
    head_ = tail_ = nullptr;
    begin_ = end_ = 0;
  } else if (begin_ == Block::kSegments) {
    Block* gone = head_;
    head_ = gone->next;
    begin_ = 0;
    store_.memory().release(gone);
  }
}

// The bytes at `to`, the next of the chunk being filled: as part of the last segment if they follow it.
bool OutputQueue::extend_or_push(std::byte* to, std::size_t bytes) {
  Segment* last = segments_ == 0 ? nullptr : &tail_->segment[end_ - 1];
  if (last != nullptr && last->kind == Segment::kChunk && last->chunk == store_.filling() && last->data + last->bytes == to) {
    store_.extend(bytes);
    last->bytes += static_cast<std::uint32_t>(bytes);
  } else {
    Segment* segment = push();
    if (segment == nullptr) {
      return false;
    }
    *segment = {.data = to, .bytes = static_cast<std::uint32_t>(bytes), .kind = Segment::kChunk, .chunk = store_.keep(bytes)};
  }
  bytes_ += bytes;
  return true;
}

std::byte* OutputQueue::append_room(std::size_t bytes) {
  std::size_t got = 0;
  std::byte* to = store_.room(bytes, got);
  return to != nullptr && got == bytes && extend_or_push(to, bytes) ? to : nullptr;
}

bool OutputQueue::append_copy(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    std::size_t got = 0;
    std::byte* to = store_.room(bytes.size(), got);
    if (to == nullptr || !extend_or_push(to, got)) {
      return false;
    }
    std::memcpy(to, bytes.data(), got);
    bytes = bytes.subspan(got);
  }
  return true;
}

bool OutputQueue::append_borrowed(std::span<const std::byte> bytes, bool last, std::uint64_t token) {
  assert(!bytes.empty() && bytes.size() <= 0xFFFFFFFF);
  Segment* segment = push();
  if (segment == nullptr) {
    return false;
  }
  *segment = {.data = bytes.data(), .bytes = static_cast<std::uint32_t>(bytes.size()),
              .kind = last ? Segment::kBorrowedLast : Segment::kBorrowed, .token = token};
  bytes_ += bytes.size();
  return true;
}

bool OutputQueue::move_from(OutputQueue& from, std::size_t bytes) {
  assert(bytes <= from.bytes_);
  while (bytes > 0) {
    Segment& head = from.head_->segment[from.begin_];
    Segment* segment = push();
    if (segment == nullptr) {
      return false;
    }
    *segment = head;
    if (head.bytes > bytes) {  // a part of it: the reference or the token stays with the rest
      segment->bytes = static_cast<std::uint32_t>(bytes);
      if (head.kind == Segment::kChunk) {
        ++head.chunk->references;
      } else {
        segment->kind = Segment::kBorrowed;
        from.cut_ = true;
      }
      head.data += bytes;
      head.bytes -= static_cast<std::uint32_t>(bytes);
      from.bytes_ -= bytes;
      bytes_ += bytes;
      return true;
    }
    bytes -= head.bytes;
    from.bytes_ -= head.bytes;
    bytes_ += head.bytes;
    from.cut_ = head.kind == Segment::kBorrowed;
    from.pop();
  }
  return true;
}

std::size_t OutputQueue::gather(std::span<iovec> out) const {
  std::size_t filled = 0;
  std::uint32_t at = begin_;
  for (const Block* block = head_; block != nullptr && filled < out.size(); block = block->next, at = 0) {
    const std::uint32_t end = block == tail_ ? end_ : Block::kSegments;
    for (; at < end && filled < out.size(); ++at) {
      const Segment& segment = block->segment[at];
      if (segment.bytes == 0) {
        continue;  // a token that waits for those before it
      }
      out[filled++] = {.iov_base = const_cast<std::byte*>(segment.data), .iov_len = segment.bytes};
    }
  }
  return filled;
}

void OutputQueue::consume(std::size_t bytes) {
  assert(bytes <= bytes_);
  bytes_ -= bytes;
  while (segments_ > 0) {
    Segment& head = head_->segment[begin_];
    if (head.bytes > bytes) {
      head.data += bytes;
      head.bytes -= static_cast<std::uint32_t>(bytes);
      return;
    }
    bytes -= head.bytes;
    const Segment gone = head;
    pop();
    finish(gone);
  }
}

std::size_t OutputQueue::peek(std::span<std::byte> out) const {
  std::size_t copied = 0;
  std::uint32_t at = begin_;
  for (const Block* block = head_; block != nullptr && copied < out.size(); block = block->next, at = 0) {
    const std::uint32_t end = block == tail_ ? end_ : Block::kSegments;
    for (; at < end && copied < out.size(); ++at) {
      const Segment& segment = block->segment[at];
      const std::size_t part = std::min<std::size_t>(segment.bytes, out.size() - copied);
      std::memcpy(out.data() + copied, segment.data, part);
      copied += part;
    }
  }
  return copied;
}

bool OutputQueue::discard(OutputQueue& sent) {
  if (cut_ && sent.bytes_ > 0) {
    std::uint32_t at = begin_;
    for (Block* block = head_; block != nullptr; block = block->next, at = 0) {
      const std::uint32_t end = block == tail_ ? end_ : Block::kSegments;
      while (at < end && block->segment[at].kind != Segment::kBorrowedLast) {
        ++at;
      }
      if (at < end) {
        Segment* note = sent.push();
        if (note == nullptr) {
          return false;
        }
        *note = block->segment[at];
        note->bytes = 0;
        block->segment[at].kind = Segment::kBorrowed;
        break;
      }
    }
  }
  clear();
  return true;
}

void OutputQueue::clear() {
  while (segments_ > 0) {
    const Segment gone = head_->segment[begin_];
    pop();
    finish(gone);
  }
  bytes_ = 0;
  cut_ = false;
}

}  // namespace slipway
