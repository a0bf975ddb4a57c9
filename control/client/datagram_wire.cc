#include "client/datagram_wire.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "client/client_bounds.h"

namespace slipway {
namespace {

constexpr std::size_t kLengthBytes = 4;
// Frames of one client that are joined at a time; a node sends a frame's pieces one after another.
constexpr JoinLimits kClientJoins{.frames = 64, .frames_per_link = 64};

std::uint64_t monotonic_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000 + static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

}  // namespace

struct DatagramWire::Batch {
  std::unique_ptr<std::byte[]> bytes;
  std::array<mmsghdr, kClientDatagramBatch> messages{};
  std::array<iovec, kClientDatagramBatch> parts{};
  std::array<sockaddr_storage, kClientDatagramBatch> from{};
};

std::expected<std::unique_ptr<DatagramWire>, std::string> DatagramWire::open(const Endpoint& node, std::uint32_t own_link_id,
                                                                           std::uint32_t receive_bytes, std::uint32_t max_frame_bytes) {
  const int fd = socket(node.address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return std::unexpected(fmt::format("cannot open a socket for {}: {}", node.text, strerror(errno)));
  }
  std::unique_ptr<DatagramWire> wire(new DatagramWire(fd, node, own_link_id, receive_bytes, max_frame_bytes));
  // Refusals (ICMP) reach an unconnected socket only by the error queue.
  const int on = 1;
  const bool v6 = node.address.ss_family == AF_INET6;
  setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &on, sizeof on);
  // A burst of the node's must fit; the kernel cuts this down to its own limit.
  const int buffer = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
  sockaddr_storage any{};
  any.ss_family = node.address.ss_family;
  if (bind(fd, reinterpret_cast<const sockaddr*>(&any), node.address_bytes) != 0) {
    return std::unexpected(fmt::format("cannot bind a UDP socket: {}", strerror(errno)));
  }
  return wire;
}

DatagramWire::DatagramWire(int fd, const Endpoint& node, std::uint32_t own_link_id, std::uint32_t receive_bytes, std::uint32_t max_frame_bytes)
    : fd_(fd),
      node_(node),
      own_link_id_(own_link_id),
      receive_bytes_(receive_bytes),
      datagram_bytes_(kClientDatagramBytes),
      batch_(std::make_unique<Batch>()),
      joiner_([&] {
        JoinLimits limits = kClientJoins;
        limits.frame_bytes = std::min<std::uint32_t>(max_frame_bytes, kMaxDatagramFrameBytes);
        return limits;
      }()),
      pieces_(kClientJoins.frames) {
  batch_->bytes = std::make_unique_for_overwrite<std::byte[]>(std::size_t{receive_bytes_} * kClientDatagramBatch);
  for (std::size_t i = 0; i < kClientDatagramBatch; ++i) {
    batch_->parts[i] = {batch_->bytes.get() + i * receive_bytes_, receive_bytes_};
    batch_->messages[i].msg_hdr = {.msg_name = &batch_->from[i], .msg_namelen = sizeof(sockaddr_storage), .msg_iov = &batch_->parts[i], .msg_iovlen = 1};
  }
}

DatagramWire::~DatagramWire() { close(fd_); }

void DatagramWire::set_peer(std::uint32_t link_id, std::uint32_t datagram_bytes, bool entropy_ports) {
  peer_link_id_ = link_id;
  entropy_ports_ = entropy_ports;
  // What fits our own path, and what the other side takes.
  const std::uint32_t ours = node_.loopback() ? kClientLoopbackDatagramBytes : kClientDatagramBytes;
  datagram_bytes_ = std::clamp<std::uint32_t>(datagram_bytes == 0 ? ours : datagram_bytes, kMinDatagramBytes, std::max<std::uint32_t>(ours, kMinDatagramBytes));
}

std::byte* DatagramWire::begin_datagram(std::uint32_t offset, std::uint32_t piece_bytes, std::uint32_t total_bytes) {
  const std::uint32_t datagram = static_cast<std::uint32_t>(kShimBytes) + piece_bytes;
  const std::size_t at = out_.size();
  out_.resize(at + kLengthBytes + datagram);
  store_le(out_.data() + at, datagram);
  std::byte* shim = out_.data() + at + kLengthBytes;
  store_shim(shim, {.link_id = peer_link_id_,
                    .counter = counter_++,
                    .fragment_offset = offset,
                    .total_bytes = total_bytes,
                    .flags = offset + piece_bytes == total_bytes ? shim_flag::kLast : std::uint8_t{0},
                    .frame_number = frame_number_});
  return shim + kShimBytes;
}

std::byte* DatagramWire::begin_frame(std::uint32_t frame_bytes) {
  ++frame_number_;
  cut_ = kShimBytes + frame_bytes > datagram_bytes_;
  if (!cut_) {
    return begin_datagram(0, frame_bytes, frame_bytes);
  }
  large_.resize(frame_bytes);
  return large_.data();
}

void DatagramWire::end_frame() {
  if (!cut_) {
    return;
  }
  cut_ = false;
  const auto total = static_cast<std::uint32_t>(large_.size());
  const std::uint32_t most = datagram_bytes_ - static_cast<std::uint32_t>(kShimBytes);
  for (std::uint32_t offset = 0; offset < total; offset += most) {
    const std::uint32_t piece = std::min(most, total - offset);
    std::memcpy(begin_datagram(offset, piece, total), large_.data() + offset, piece);
  }
}

WireStatus DatagramWire::flush() {
  std::array<mmsghdr, kClientDatagramBatch> messages{};
  std::array<iovec, kClientDatagramBatch> parts;
  while (out_begin_ < out_.size()) {
    unsigned count = 0;
    for (std::size_t at = out_begin_; at < out_.size() && count < kClientDatagramBatch; ++count) {
      const auto length = load_le<std::uint32_t>(out_.data() + at);
      parts[count] = {out_.data() + at + kLengthBytes, length};
      messages[count].msg_hdr = {.msg_name = &node_.address, .msg_namelen = node_.address_bytes, .msg_iov = &parts[count], .msg_iovlen = 1};
      at += kLengthBytes + length;
    }
    const int sent = sendmmsg(fd_, messages.data(), count, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) {
        continue;
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
        if (out_begin_ > out_.size() / 2) {
          out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(std::exchange(out_begin_, 0)));
        }
        return WireStatus::kBlocked;
      }
      const int error = errno;
      if (error == ECONNREFUSED && read_errors()) {
        continue;
      }
      trouble_ = error == ECONNREFUSED ? "nothing listens at that UDP port" : fmt::format("cannot send: {}", strerror(error));
      return WireStatus::kBroken;
    }
    for (int i = 0; i < sent; ++i) {
      out_begin_ += kLengthBytes + parts[static_cast<std::size_t>(i)].iov_len;
    }
  }
  out_.clear();
  out_begin_ = 0;
  return WireStatus::kOk;
}

bool DatagramWire::read_errors() {
  std::array<std::byte, 512> control;
  bool refused = false;
  for (;;) {
    msghdr message{.msg_control = control.data(), .msg_controllen = control.size()};
    if (recvmsg(fd_, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
      break;
    }
    for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
      if ((one->cmsg_level == IPPROTO_IP && one->cmsg_type == IP_RECVERR) || (one->cmsg_level == IPPROTO_IPV6 && one->cmsg_type == IPV6_RECVERR)) {
        sock_extended_err error;
        std::memcpy(&error, CMSG_DATA(one), sizeof error);
        refused = refused || error.ee_errno == ECONNREFUSED;
      }
    }
  }
  // Others (no route, port filtered) may pass; the hello's or the keepalive's deadline decides.
  return !refused;
}

bool DatagramWire::from_node(const sockaddr_storage& from) const {
  if (from.ss_family != node_.address.ss_family) {
    return false;
  }
  if (from.ss_family == AF_INET) {
    const auto& a = reinterpret_cast<const sockaddr_in&>(from);
    const auto& b = reinterpret_cast<const sockaddr_in&>(node_.address);
    return a.sin_addr.s_addr == b.sin_addr.s_addr && (entropy_ports_ || a.sin_port == b.sin_port);
  }
  const auto& a = reinterpret_cast<const sockaddr_in6&>(from);
  const auto& b = reinterpret_cast<const sockaddr_in6&>(node_.address);
  return std::memcmp(&a.sin6_addr, &b.sin6_addr, sizeof a.sin6_addr) == 0 && (entropy_ports_ || a.sin6_port == b.sin6_port);
}

bool DatagramWire::join(const Shim& shim, std::span<const std::byte> piece, FrameSink& sink) {
  const auto result = joiner_.add(own_link_id_ % kMaxLinks, shim, static_cast<std::uint32_t>(piece.size()), monotonic_ms());
  auto& held = pieces_[result.slot];
  switch (result.outcome) {
    case JoinOutcome::kRefused:
      ++ignored_;
      return true;
    case JoinOutcome::kPoisoned:
      ++lost_joins_;
      held.clear();
      return true;
    case JoinOutcome::kHeld:
    case JoinOutcome::kWhole:
      held.insert(held.begin() + result.position, {piece.begin(), piece.end()});
      break;
  }
  if (result.outcome != JoinOutcome::kWhole) {
    return true;
  }
  std::vector<std::byte> frame;
  frame.reserve(shim.total_bytes);
  for (const auto& part : held) {
    frame.insert(frame.end(), part.begin(), part.end());
  }
  held.clear();
  return sink.on_frame(frame);
}

bool DatagramWire::on_datagram(std::span<const std::byte> datagram, const sockaddr_storage& from, FrameSink& sink) {
  if (!from_node(from) || check_shim(datagram) != ShimFault::kNone) {
    ++ignored_;
    return true;
  }
  const Shim shim = load_shim(datagram.data());
  const auto piece = datagram.subspan(kShimBytes);
  // The answers to a hello may come without a link id: the node has made no link yet.
  const bool greeting = shim.link_id == 0 && piece.size() >= kFrameHeaderBytes && frame_kind(piece.data()) == static_cast<std::uint8_t>(FrameKind::kLink);
  if (shim.link_id != own_link_id_ && !greeting) {
    ++ignored_;
    return true;
  }
  return shim.whole(piece.size()) ? sink.on_frame(piece) : join(shim, piece, sink);
}

WireStatus DatagramWire::receive(FrameSink& sink) {
  expire(monotonic_ms());
  for (std::size_t turn_bytes = 0; turn_bytes < kClientTurnBytes;) {
    for (auto& message : batch_->messages) {
      message.msg_hdr.msg_namelen = sizeof(sockaddr_storage);
    }
    const int got = recvmmsg(fd_, batch_->messages.data(), kClientDatagramBatch, MSG_DONTWAIT, nullptr);
    if (got < 0) {
      if (errno == EINTR) {
        continue;
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        read_errors();  // or the loop would report trouble for ever
        return WireStatus::kOk;
      }
      const int error = errno;
      if (error == ECONNREFUSED && read_errors()) {
        continue;
      }
      trouble_ = error == ECONNREFUSED ? "nothing listens at that UDP port" : fmt::format("cannot receive: {}", strerror(error));
      return WireStatus::kBroken;
    }
    for (int i = 0; i < got; ++i) {
      const auto& message = batch_->messages[static_cast<std::size_t>(i)];
      turn_bytes += message.msg_len;
      const std::byte* at = batch_->bytes.get() + static_cast<std::size_t>(i) * receive_bytes_;
      if ((message.msg_hdr.msg_flags & MSG_TRUNC) != 0) {
        ++ignored_;
      } else if (!on_datagram({at, message.msg_len}, batch_->from[static_cast<std::size_t>(i)], sink)) {
        return WireStatus::kOk;
      }
    }
    if (got < static_cast<int>(kClientDatagramBatch)) {
      return WireStatus::kOk;
    }
  }
  return WireStatus::kOk;
}

void DatagramWire::expire(std::uint64_t now_ms) {
  Joiner::Gone gone;
  while (joiner_.expire_one(now_ms, gone)) {
    ++lost_joins_;
    pieces_[gone.slot].clear();
  }
}

}  // namespace slipway
