#include "channel/channel_error.h"

#include <gtest/gtest.h>

#include "channel/channels.h"
#include "channel/sealed_store.h"

namespace slipway {
namespace {

TEST(ChannelError, SaysWhatAndWhatToDo) {
  EXPECT_EQ((ChannelError{ChannelFault::kUnknown, "inviting into org/ns/x"}.message()),
            "inviting into org/ns/x: there is no such channel: `slipwayctl channel list` shows what there is");
  EXPECT_EQ((ChannelError{ChannelFault::kStopping, ""}.message()), "the node is stopping");
  EXPECT_EQ((ChannelError{ChannelFault::kSession, "as the session said", SessionFault::kNotFound}.message()), "as the session said");
}

TEST(ChannelError, NamesAreStable) {
  EXPECT_EQ(channel_fault_name(ChannelFault::kOff), "off");
  EXPECT_EQ(channel_fault_name(ChannelFault::kFileManaged), "file_managed");
  EXPECT_EQ(channel_fault_name(ChannelFault::kStopping), "stopping");
}

}  // namespace
}  // namespace slipway
