// The ratchet_tree extension: walked in place and decoded to nodes, which must agree.
#include "message/tree_node.h"
#include "require.h"

using namespace slipway::mls;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  View input(data, size);
  auto tree = decode<RatchetTreeView>(input);
  auto owned = decode<std::vector<std::optional<Node>>>(input);
  if (!tree) {
    FUZZ_REQUIRE(!owned);
    return 0;
  }
  Bytes again;
  size_t count = 0;
  Status walked = tree->nodes.for_each([&](std::optional<NodeView>&& node) {
    encode_to(again, node);
    ++count;
    return Status();
  });
  if (walked) {
    FUZZ_REQUIRE(equal(again, tree->nodes.encoded()));
  }
  if (owned) {
    FUZZ_REQUIRE(walked && owned->size() == count);
    FUZZ_REQUIRE(equal(encode(*owned), input));
  }
  return 0;
}
