// What is said when the kernel refuses io_uring, and what is found when it does not.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "port/socket_features.h"

namespace slipway {
namespace {

using testing::HasSubstr;

TEST(SocketFeatures, RefusalsSayWhatToDo) {
  EXPECT_THAT(io_uring_refusal(EPERM, 2), HasSubstr("kernel.io_uring_disabled = 2"));
  EXPECT_THAT(io_uring_refusal(EPERM, 2), HasSubstr("sysctl -w kernel.io_uring_disabled=0"));
  EXPECT_THAT(io_uring_refusal(EPERM, 1), HasSubstr("kernel.io_uring_group"));
  EXPECT_THAT(io_uring_refusal(EPERM, 0), HasSubstr("seccomp"));
  EXPECT_THAT(io_uring_refusal(EPERM, -1), HasSubstr("seccomp"));
  EXPECT_THAT(io_uring_refusal(ENOSYS, -1), HasSubstr("Linux 6.1"));
  EXPECT_THAT(io_uring_refusal(ENOMEM, -1), HasSubstr("LimitMEMLOCK"));
  EXPECT_THAT(io_uring_refusal(EMFILE, -1), HasSubstr("LimitNOFILE"));
}

TEST(SocketFeatures, FoundFeaturesAreDescribed) {
  const auto features = probe_socket_features();
  if (!features) {
    GTEST_SKIP() << features.error();
  }
  EXPECT_TRUE(features->buffer_ring && features->recv_multishot && features->recvmsg_multishot);
  const auto texts = describe(*features);
  EXPECT_GE(texts.size(), 10u);
  for (const SocketFeatureText& text : texts) {
    EXPECT_FALSE(text.name.empty());
    EXPECT_FALSE(text.what.empty()) << text.name;
  }
}

}  // namespace
}  // namespace slipway
