#include "client/stream_wire.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "client/client_bounds.h"
#include "frame/frame.h"

namespace slipway {

StreamWire::StreamWire(int fd, std::uint32_t max_frame_bytes) : fd_(fd), max_frame_bytes_(max_frame_bytes) {}

StreamWire::~StreamWire() { close(fd_); }

void StreamWire::Buffer::make_room(std::size_t wanted) {
  if (begin == end) {
    begin = end = 0;
  }
  if (capacity - end >= wanted) {
    return;
  }
  const std::size_t held = end - begin;
  // Moving is only worth it when at least as much room is won as bytes are moved.
  if (begin >= held && capacity - held >= wanted) {
    std::memmove(bytes.get(), bytes.get() + begin, held);
  } else {
    capacity = std::max({capacity * 2, held + wanted, kClientReceiveBytes});
    auto larger = std::make_unique_for_overwrite<std::byte[]>(capacity);
    if (held > 0) {
      std::memcpy(larger.get(), bytes.get() + begin, held);
    }
    bytes = std::move(larger);
  }
  begin = 0;
  end = held;
}

std::byte* StreamWire::begin_frame(std::uint32_t frame_bytes) {
  out_.make_room(kStreamPrefixBytes + frame_bytes);
  std::byte* at = out_.bytes.get() + out_.end;
  store_le(at, frame_bytes);
  out_.end += kStreamPrefixBytes + frame_bytes;
  return at + kStreamPrefixBytes;
}

WireStatus StreamWire::flush() {
  while (out_.begin != out_.end) {
    const ssize_t sent = send(fd_, out_.bytes.get() + out_.begin, out_.end - out_.begin, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) {
        continue;
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return WireStatus::kBlocked;
      }
      trouble_ = fmt::format("cannot send: {}", strerror(errno));
      return WireStatus::kBroken;
    }
    out_.begin += static_cast<std::size_t>(sent);
  }
  return WireStatus::kOk;
}

bool StreamWire::hand_out(FrameSink& sink) {
  while (in_.end - in_.begin >= kStreamPrefixBytes) {
    const std::byte* at = in_.bytes.get() + in_.begin;
    const auto length = load_le<std::uint32_t>(at);
    if (length < kFrameHeaderBytes || length > max_frame_bytes_) {
      trouble_ = fmt::format("the node sent a frame of {} bytes; between {} and {} are allowed", length, kFrameHeaderBytes, max_frame_bytes_);
      return false;
    }
    if (in_.end - in_.begin < kStreamPrefixBytes + length) {
      break;
    }
    in_.begin += kStreamPrefixBytes + length;
    if (!sink.on_frame({at + kStreamPrefixBytes, length})) {
      return false;
    }
  }
  return true;
}

WireStatus StreamWire::receive(FrameSink& sink) {
  if (!hand_out(sink)) {  // what was left when the reader stopped
    return trouble_.empty() ? WireStatus::kOk : WireStatus::kBroken;
  }
  for (std::size_t turn_bytes = 0; turn_bytes < kClientTurnBytes;) {
    sink.on_reuse();
    // The frame that has begun fits behind what is there of it, and a good piece more.
    const std::size_t held = in_.end - in_.begin;
    const std::size_t frame = held >= kStreamPrefixBytes ? load_le<std::uint32_t>(in_.bytes.get() + in_.begin) + kStreamPrefixBytes : 0;
    in_.make_room(std::max<std::size_t>(frame > held ? frame - held : 0, kClientReceiveBytes / 4));
    const std::size_t room = in_.capacity - in_.end;
    const ssize_t got = recv(fd_, in_.bytes.get() + in_.end, room, 0);
    if (got <= 0) {
      if (got < 0 && errno == EINTR) {
        continue;
      }
      if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return WireStatus::kOk;
      }
      trouble_ = got == 0 ? "the node closed the connection" : fmt::format("cannot receive: {}", strerror(errno));
      return WireStatus::kBroken;
    }
    in_.end += static_cast<std::size_t>(got);
    turn_bytes += static_cast<std::size_t>(got);
    if (!hand_out(sink)) {
      return trouble_.empty() ? WireStatus::kOk : WireStatus::kBroken;
    }
    if (static_cast<std::size_t>(got) < room) {
      return WireStatus::kOk;  // the socket had no more; the loop tells when it has
    }
  }
  return WireStatus::kOk;
}

}  // namespace slipway
