// Zero-copy sends, in a network namespace of the test's own: an address that is not 127.0.0.0/8 makes the engine try
// them; the loopback device copies all the same and says so, after which a stream no longer asks.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "socket_rig.h"

namespace slipway::test {
namespace {

constexpr char kAddress[] = "192.0.2.1";

// True: this thread is alone in a namespace where the loopback device is up and has kAddress.
bool own_namespace() {
  static const bool made = [] {
    if (unshare(CLONE_NEWNET) != 0) {
      return false;
    }
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    bool ok = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    request = {};
    std::strcpy(request.ifr_name, "lo:1");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    inet_pton(AF_INET, kAddress, &address.sin_addr);
    std::memcpy(&request.ifr_addr, &address, sizeof address);
    ok = ok && ioctl(fd, SIOCSIFADDR, &request) == 0;
    close(fd);
    return ok;
  }();
  return made;
}

std::pair<int, int> far_pair() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, kAddress, &address.sin_addr);
  socklen_t length = sizeof address;
  EXPECT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(listen(listener, 1), 0);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  const int ours = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(ours, reinterpret_cast<sockaddr*>(&address), length), 0);
  const int theirs = accept(listener, nullptr, nullptr);
  close(listener);
  return {ours, theirs};
}

struct ZeroCopy : testing::Test {
  void SetUp() override {
    if (!own_namespace()) {
      GTEST_SKIP() << "no right to make a network namespace";
    }
    if (const auto features = probe_socket_features(); !features || !features->sendmsg_zc) {
      GTEST_SKIP() << "the kernel has no zero-copy sendmsg in io_uring";
    }
  }
};

TEST_F(ZeroCopy, FramesArriveWholeAndEverythingComesBack) {
  Rig rig;
  for (std::uint32_t round = 0; round < 20; ++round) {
    const auto [ours, theirs] = far_pair();
    const LinkIndex link = rig.add_stream(ours);
    Peer peer(theirs);
    constexpr std::uint32_t kCount = 30;
    for (std::uint32_t i = 0; i < kCount; ++i) {
      rig.send(link, make_frame_bytes(100'000 + round * 1000, i));
      if (i % 3 == 0) {
        rig.engine->flush();
      }
    }
    ASSERT_TRUE(rig.run_until([&] {
      peer.read_some(300'000);
      return peer.frames.size() == kCount;
    }));
    for (std::uint32_t i = 0; i < kCount; ++i) {
      ASSERT_EQ(number_of(peer.frames[i]), i);
      ASSERT_TRUE(intact(peer.frames[i]));
    }
    rig.close_link(link, round % 2 == 0 ? 1000 : 0);
    peer.close_now();
    std::size_t events = 0;
    ASSERT_TRUE(rig.run_until([&] { return (events += rig.events().size()) == 2; }));
  }
}

TEST_F(ZeroCopy, ResetInFlightReleasesEverything) {
  Rig rig({.mbufs = 16384});
  for (std::uint32_t round = 0; round < 20; ++round) {
    const auto [ours, theirs] = far_pair();
    const LinkIndex link = rig.add_stream(ours);
    Peer peer(theirs);
    for (std::uint32_t i = 0; i < 60; ++i) {
      rig.send(link, make_frame_bytes(100'000, i));
    }
    rig.steps(2 + static_cast<int>(round % 3));
    peer.read_some(round * 50'000);
    rig.step();
    peer.reset();
    std::size_t events = 0;
    ASSERT_TRUE(rig.run_until([&] { return (events += rig.events().size()) == 2; }));
    EXPECT_EQ(rig.engine->held_frames(), 0u);
  }
}

}  // namespace
}  // namespace slipway::test
