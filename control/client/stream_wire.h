#pragma once
// Frames on a TCP or Unix stream socket, each behind its length in 32 little-endian bits. Frames are written into
// one buffer that a flush hands to the kernel in one call, and are handed out where they were received.

#include <memory>

#include "client/wire.h"

namespace slipway {

class StreamWire final : public Wire {
 public:
  // Takes the descriptor: connected and non-blocking. A longer frame than max_frame_bytes breaks the wire.
  StreamWire(int fd, std::uint32_t max_frame_bytes);
  ~StreamWire() override;
  StreamWire(const StreamWire&) = delete;
  StreamWire& operator=(const StreamWire&) = delete;

  std::byte* begin_frame(std::uint32_t frame_bytes) override;
  void end_frame() override {}
  [[nodiscard]] std::size_t queued_bytes() const override { return out_.end - out_.begin; }
  WireStatus flush() override;
  WireStatus receive(FrameSink& sink) override;
  [[nodiscard]] int fd() const override { return fd_; }

 private:
  struct Buffer {
    std::unique_ptr<std::byte[]> bytes;
    std::size_t capacity = 0;
    std::size_t begin = 0;
    std::size_t end = 0;
    void make_room(std::size_t wanted);  // behind end; moves what is there to the front before it grows
  };
  bool hand_out(FrameSink& sink);  // false: stop

  int fd_;
  std::uint32_t max_frame_bytes_;
  Buffer out_;
  Buffer in_;
};

}  // namespace slipway
