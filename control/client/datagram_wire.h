#pragma once
// Frames in UDP datagrams, each behind a shim (frame/shim.h); frames that do not fit one datagram are cut and joined.
//
// The socket is not connected: a node's DPDK port sends from UDP source ports that vary (they spread load), which
// a connected socket would refuse. The source address is checked here instead.

#include <expected>
#include <memory>
#include <vector>

#include "client/endpoint.h"
#include "client/wire.h"
#include "frame/joiner.h"
#include "frame/shim.h"

namespace slipway {

class DatagramWire final : public Wire {
 public:
  // own_link_id: what the node puts into its shims, not 0. receive_bytes: largest UDP payload that we take.
  static std::expected<std::unique_ptr<DatagramWire>, std::string> open(const Endpoint& node, std::uint32_t own_link_id,
                                                                      std::uint32_t receive_bytes, std::uint32_t max_frame_bytes);
  ~DatagramWire() override;
  DatagramWire(const DatagramWire&) = delete;
  DatagramWire& operator=(const DatagramWire&) = delete;

  // What the hello's answer said. Until then shims carry link id 0.
  void set_peer(std::uint32_t link_id, std::uint32_t datagram_bytes, bool entropy_ports);
  void expire(std::uint64_t now_ms);  // throws away frames that were never completed

  [[nodiscard]] std::uint32_t own_link_id() const { return own_link_id_; }
  [[nodiscard]] std::uint32_t receive_bytes() const { return receive_bytes_; }
  [[nodiscard]] std::uint64_t ignored() const { return ignored_; }  // datagrams that were not for this link, or malformed
  [[nodiscard]] std::uint64_t lost_joins() const { return lost_joins_; }

  std::byte* begin_frame(std::uint32_t frame_bytes) override;
  void end_frame() override;
  [[nodiscard]] std::size_t queued_bytes() const override { return out_.size() - out_begin_; }
  WireStatus flush() override;
  WireStatus receive(FrameSink& sink) override;
  [[nodiscard]] int fd() const override { return fd_; }

 private:
  struct Batch;  // buffers of one recvmmsg

  DatagramWire(int fd, const Endpoint& node, std::uint32_t own_link_id, std::uint32_t receive_bytes, std::uint32_t max_frame_bytes);
  std::byte* begin_datagram(std::uint32_t offset, std::uint32_t piece_bytes, std::uint32_t total_bytes);
  bool on_datagram(std::span<const std::byte> datagram, const sockaddr_storage& from, FrameSink& sink);
  bool join(const Shim& shim, std::span<const std::byte> piece, FrameSink& sink);
  [[nodiscard]] bool from_node(const sockaddr_storage& from) const;
  bool read_errors();  // false: nothing listens at the node's address

  int fd_;
  Endpoint node_;
  std::uint32_t own_link_id_;
  std::uint32_t receive_bytes_;
  std::uint32_t peer_link_id_ = 0;
  std::uint32_t datagram_bytes_;
  bool entropy_ports_ = true;  // until we know better: the answer to a hello comes from any port
  std::uint64_t counter_ = 0;
  std::uint16_t frame_number_ = 0;
  std::uint64_t ignored_ = 0;
  std::uint64_t lost_joins_ = 0;

  // Datagrams to be sent, each behind its length in 32 bits.
  std::vector<std::byte> out_;
  std::size_t out_begin_ = 0;
  std::vector<std::byte> large_;  // a frame that end_frame() cuts
  bool cut_ = false;

  std::unique_ptr<Batch> batch_;
  Joiner joiner_;
  std::vector<std::vector<std::vector<std::byte>>> pieces_;  // by slot of the joiner, in order
};

}  // namespace slipway
