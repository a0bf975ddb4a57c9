#pragma once
// How frames get into and out of a client's socket: stream_wire.h behind a length prefix, datagram_wire.h behind
// a shim. A wire owns its descriptor. Everything runs on the thread of the client's loop.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace slipway {

class FrameSink {
 public:
  // One whole frame of at least a header's size; the bytes are valid during the call. False: stop reading. What of a stream was read
  // and not handed out comes first in the next receive(); the rest of a batch of datagrams is lost.
  virtual bool on_frame(std::span<const std::byte> frame) = 0;
  // Of a stream: the frames that were handed out so far are about to be overwritten. Until then they stay as they are.
  virtual void on_reuse() {}

 protected:
  ~FrameSink() = default;
};

enum class WireStatus : std::uint8_t {
  kOk,       // nothing is left to write; nothing is left to read, or the turn's share was read
  kBlocked,  // the rest goes when the socket can be written again
  kBroken,   // see trouble()
};

class Wire {
 public:
  virtual ~Wire() = default;
  // Room for a frame of this size in the queue of what is to be written; the caller fills all of it and calls
  // end_frame(). The caller has checked queued_bytes() and the link's frame limit.
  virtual std::byte* begin_frame(std::uint32_t frame_bytes) = 0;
  virtual void end_frame() = 0;
  [[nodiscard]] virtual std::size_t queued_bytes() const = 0;
  virtual WireStatus flush() = 0;                     // writes what the socket takes
  virtual WireStatus receive(FrameSink& sink) = 0;    // reads what there is, a turn's share at most
  [[nodiscard]] virtual int fd() const = 0;
  [[nodiscard]] const std::string& trouble() const { return trouble_; }

 protected:
  std::string trouble_;
};

}  // namespace slipway
