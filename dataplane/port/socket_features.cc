#include "port/socket_features.h"

#include <liburing.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

namespace slipway {
namespace {

// Newer than the system's headers.
constexpr std::uint16_t kSendZcReportUsage = 1u << 3;
constexpr unsigned kEntries = 8;

int io_uring_disabled_sysctl() {
  int value = -1;
  if (std::FILE* file = std::fopen("/proc/sys/kernel/io_uring_disabled", "re")) {
    if (std::fscanf(file, "%d", &value) != 1) {
      value = -1;
    }
    std::fclose(file);
  }
  return value;
}

std::string kernel_release() {
  utsname name{};
  return uname(&name) == 0 ? name.release : "unknown";
}

struct Ring {
  io_uring ring{};
  bool open = false;
  ~Ring() {
    if (open) {
      io_uring_queue_exit(&ring);
    }
  }
  int init(unsigned flags) {
    io_uring_params params{};
    params.flags = flags;
    const int rc = io_uring_queue_init_params(kEntries, &ring, &params);
    open = rc == 0;
    return rc;
  }
};

bool ring_accepts(unsigned flags) {
  Ring ring;
  return ring.init(flags) == 0;
}

bool socket_accepts(int option) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return false;
  }
  const int value = option == UDP_SEGMENT ? 1200 : 1;
  const bool ok = setsockopt(fd, IPPROTO_UDP, option, &value, sizeof value) == 0;
  close(fd);
  return ok;
}

// A ring with one buffer of 64 bytes, and two connected sockets: what multishot receives and zero-copy sends are
// tried on.
struct Trial {
  Ring ring;
  int pair[2] = {-1, -1};
  io_uring_buf_ring* buffers = nullptr;
  std::byte storage[64];
  ~Trial() {
    for (const int fd : pair) {
      if (fd >= 0) {
        close(fd);
      }
    }
    if (buffers != nullptr) {
      if (ring.open) {
        io_uring_unregister_buf_ring(&ring.ring, 0);
      }
      munmap(buffers, kPage);
    }
  }
  static constexpr std::size_t kPage = 4096;

  bool register_buffers() {
    void* at = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
      return false;
    }
    buffers = static_cast<io_uring_buf_ring*>(at);
    io_uring_buf_reg reg{};
    reg.ring_addr = reinterpret_cast<std::uint64_t>(buffers);
    reg.ring_entries = kEntries;
    if (io_uring_register_buf_ring(&ring.ring, &reg, 0) != 0) {
      return false;
    }
    io_uring_buf_ring_init(buffers);
    io_uring_buf_ring_add(buffers, storage, sizeof storage, 0, io_uring_buf_ring_mask(kEntries), 0);
    io_uring_buf_ring_advance(buffers, 1);
    return true;
  }

  // The result of one operation; F_MORE tells of multishot.
  bool run(int& result, unsigned& flags) {
    io_uring_cqe* cqe = nullptr;
    if (io_uring_submit_and_wait(&ring.ring, 1) < 0 || io_uring_peek_cqe(&ring.ring, &cqe) != 0) {
      return false;
    }
    result = cqe->res;
    flags = cqe->flags;
    io_uring_cqe_seen(&ring.ring, cqe);
    return true;
  }
};

bool try_recv_multishot(bool with_message) {
  Trial trial;
  if (trial.ring.init(0) != 0 || !trial.register_buffers() ||
      socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, trial.pair) != 0 || write(trial.pair[0], "x", 1) != 1) {
    return false;
  }
  msghdr message{};
  io_uring_sqe* sqe = io_uring_get_sqe(&trial.ring.ring);
  if (with_message) {
    io_uring_prep_recvmsg_multishot(sqe, trial.pair[1], &message, 0);
  } else {
    io_uring_prep_recv_multishot(sqe, trial.pair[1], nullptr, 0, 0);
  }
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = 0;
  int result = 0;
  unsigned flags = 0;
  return trial.run(result, flags) && result > 0 && (flags & IORING_CQE_F_MORE) != 0;
}

bool try_buffer_ring() {
  Trial trial;
  return trial.ring.init(0) == 0 && trial.register_buffers();
}

// A datagram to ourselves: the cheapest socket that takes zero-copy sends.
bool try_sendmsg_zc(std::uint16_t ioprio) {
  Trial trial;
  trial.pair[0] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (trial.ring.init(0) != 0 || trial.pair[0] < 0 ||
      bind(trial.pair[0], reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      getsockname(trial.pair[0], reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return false;
  }
  char byte = 'x';
  iovec vector{&byte, 1};
  msghdr message{};
  message.msg_name = &address;
  message.msg_namelen = sizeof address;
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  io_uring_sqe* sqe = io_uring_get_sqe(&trial.ring.ring);
  io_uring_prep_sendmsg_zc(sqe, trial.pair[0], &message, 0);
  sqe->ioprio |= ioprio;
  int result = 0;
  unsigned flags = 0;
  if (!trial.run(result, flags) || result != 1) {
    return false;
  }
  if ((flags & IORING_CQE_F_MORE) != 0) {
    return trial.run(result, flags) && (flags & IORING_CQE_F_NOTIF) != 0;
  }
  return true;
}

}  // namespace

std::string io_uring_refusal(int error, int disabled_sysctl) {
  if (error == ENOSYS) {
    return fmt::format("io_uring does not exist in this kernel ({}): sockets need Linux 6.1 or later", kernel_release());
  }
  if (error == EPERM || error == EACCES) {
    if (disabled_sysctl == 2) {
      return "io_uring is switched off by the sysctl kernel.io_uring_disabled = 2: set it to 0 (sysctl -w kernel.io_uring_disabled=0)";
    }
    if (disabled_sysctl == 1) {
      return "io_uring is kept from unprivileged processes by the sysctl kernel.io_uring_disabled = 1: set it to 0, or run with CAP_SYS_ADMIN, or in the group of kernel.io_uring_group";
    }
    return "a seccomp filter refuses io_uring_setup (container runtimes do by default): allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile";
  }
  if (error == ENOMEM) {
    return "io_uring may not lock enough memory: raise the limit (ulimit -l, or LimitMEMLOCK= of the service)";
  }
  if (error == EMFILE || error == ENFILE) {
    return "no file descriptor is left for io_uring: raise the limit (ulimit -n, or LimitNOFILE= of the service)";
  }
  return fmt::format("io_uring cannot be set up: {}", std::strerror(error));
}

std::expected<SocketFeatures, std::string> probe_socket_features() {
  {
    Ring plain;
    if (const int rc = plain.init(0); rc != 0) {
      return std::unexpected(io_uring_refusal(-rc, io_uring_disabled_sysctl()));
    }
    if ((plain.ring.features & IORING_FEAT_EXT_ARG) == 0) {
      return std::unexpected(fmt::format("io_uring of this kernel ({}) is too old: sockets need Linux 6.1 or later", kernel_release()));
    }
  }
  SocketFeatures f;
  f.buffer_ring = try_buffer_ring();
  f.recv_multishot = f.buffer_ring && try_recv_multishot(false);
  f.recvmsg_multishot = f.buffer_ring && try_recv_multishot(true);
  if (!f.buffer_ring || !f.recv_multishot || !f.recvmsg_multishot) {
    return std::unexpected(fmt::format("io_uring of this kernel ({}) lacks {}: sockets need Linux 6.1 or later", kernel_release(),
                                       !f.buffer_ring ? "provided buffer rings" : "multishot receive"));
  }
  f.single_issuer = ring_accepts(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_R_DISABLED);
  f.defer_taskrun = f.single_issuer && ring_accepts(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_R_DISABLED |
                                                    IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG);
  f.coop_taskrun = ring_accepts(IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG);
  {
    Ring ring;
    f.registered_ring = ring.init(0) == 0 && io_uring_register_ring_fd(&ring.ring) == 1;
  }
  f.sendmsg_zc = try_sendmsg_zc(0);
  f.zc_report_usage = f.sendmsg_zc && try_sendmsg_zc(kSendZcReportUsage);
  f.udp_gso = socket_accepts(UDP_SEGMENT);
  f.udp_gro = socket_accepts(UDP_GRO);
  f.setup_flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL;
  if (f.single_issuer) {
    f.setup_flags |= IORING_SETUP_SINGLE_ISSUER;
  }
  if (f.defer_taskrun) {
    f.setup_flags |= IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  } else if (f.coop_taskrun) {
    f.setup_flags |= IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  }
  return f;
}

std::vector<SocketFeatureText> describe(const SocketFeatures& f) {
  return {
      {"provided buffer rings", f.buffer_ring, "receive buffers chosen when bytes arrive"},
      {"multishot receive", f.recv_multishot, "one operation receives for the life of a stream"},
      {"multishot receive of messages", f.recvmsg_multishot, "likewise for datagrams"},
      {"single issuer", f.single_issuer, "no lock around submission"},
      {"deferred task work", f.defer_taskrun, f.defer_taskrun ? "completions are made when we ask, without interrupts" : "not there: completions interrupt the worker"},
      {"cooperative task work", f.coop_taskrun && !f.defer_taskrun, f.defer_taskrun ? "not needed beside deferred task work" : "completions are made at system calls"},
      {"registered ring", f.registered_ring, "no look-up of the ring's descriptor"},
      {"zero-copy send", f.sendmsg_zc, f.sendmsg_zc ? "long sends to other machines reference the frames" : "not there: every send copies"},
      {"zero-copy report", f.zc_report_usage, f.zc_report_usage ? "streams whose sends are copied after all stop asking" : "not there: only addresses decide"},
      {"UDP segmentation offload", f.udp_gso, f.udp_gso ? "many datagrams of one size in one send" : "not there: one send a datagram"},
      {"UDP receive offload", f.udp_gro, f.udp_gro ? "many datagrams of one sender in one receive" : "not there: one receive a datagram"},
  };
}

}  // namespace slipway
