#pragma once
// Which parts of io_uring and of UDP sockets the running kernel lends us. Found by asking and by trying, once at
// start; the node runs on Linux 6.1 and later (Debian 12's own kernel), and uses more where there is more.

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace slipway {

struct SocketFeatures {
  // Without these there is no socket port; probe_socket_features() says which is missing.
  bool buffer_ring = false;          // IORING_REGISTER_PBUF_RING, 5.19
  bool recv_multishot = false;       // 6.0
  bool recvmsg_multishot = false;    // 6.0
  // Used where they are there.
  bool single_issuer = false;        // IORING_SETUP_SINGLE_ISSUER, 6.0
  bool defer_taskrun = false;        // IORING_SETUP_DEFER_TASKRUN, 6.1: completions are made in our own time
  bool coop_taskrun = false;         // IORING_SETUP_COOP_TASKRUN, 5.19: the next best
  bool registered_ring = false;      // the ring's descriptor needs no look-up, 5.18
  bool sendmsg_zc = false;           // IORING_OP_SENDMSG_ZC, 6.1
  bool zc_report_usage = false;      // the kernel tells whether it copied after all, 6.2
  bool udp_gso = false;              // UDP_SEGMENT, 4.18
  bool udp_gro = false;              // UDP_GRO, 5.0

  std::uint32_t setup_flags = 0;     // for io_uring_queue_init_params
};

// Any thread; makes and destroys a ring and two sockets. The error is one sentence on what refuses io_uring (the
// sysctl kernel.io_uring_disabled, a seccomp filter, an old kernel, a limit) and what to do.
[[nodiscard]] std::expected<SocketFeatures, std::string> probe_socket_features();

struct SocketFeatureText {
  std::string_view name;
  bool used;
  std::string_view what;  // what it is for, or what is done without it
};
[[nodiscard]] std::vector<SocketFeatureText> describe(const SocketFeatures& features);

// The sentence for a ring that the kernel refuses with `error` (an errno), given the value of
// kernel.io_uring_disabled (-1: no such sysctl).
[[nodiscard]] std::string io_uring_refusal(int error, int disabled_sysctl);

}  // namespace slipway
