// The secret tree under any order of generations: no key serves twice, what is held stays bounded, and a
// snapshot goes on as the tree would have. Three bytes of input are one step; inputs that begin with 0xff
// are read as a snapshot instead.
#include <set>
#include <tuple>

#include "key_schedule/secret_tree.h"
#include "require.h"

using namespace slipway::mls;

namespace {

constexpr uint32_t kLeaves = 5;

SecretBytes snapshot(const SecretTree& tree) {
  SecretBytes out;
  SecretWriter writer(out);
  tree.save(writer);
  return out;
}

void restore_from(View input, const Suite& suite) {
  Reader reader(input);
  auto tree = SecretTree::restore(suite, reader);
  if (tree) {
    (void)tree->find(0, RatchetKind::kApplication, 3);
    SecretBytes saved = snapshot(*tree);
    Reader again(saved);
    FUZZ_REQUIRE(SecretTree::restore(suite, again));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Suite& suite = *find_suite(CipherSuite{1});
  if (size > 0 && data[0] == 0xff) {
    restore_from({data + 1, size - 1}, suite);
    return 0;
  }
  Limits limits;
  limits.generations_ahead = 40;
  limits.skipped_per_ratchet = 12;
  limits.skipped_per_epoch = 20;
  SecretTree tree(suite, Secret(Bytes(32, 1)), kLeaves, limits);
  std::set<std::tuple<uint32_t, RatchetKind, uint32_t>> used;
  for (size_t i = 0; i + 2 < size && i < 600; i += 3) {
    uint32_t leaf = data[i] % 8;
    auto kind = static_cast<RatchetKind>(data[i] >> 3 & 1);
    bool accept = data[i] >> 4 & 1;
    auto generation = static_cast<uint32_t>(data[i + 1] << 2 | data[i + 2] >> 6);
    if (data[i] >> 7) {
      SecretBytes saved = snapshot(tree);
      Reader reader(saved);
      tree = SecretTree::restore(suite, reader, limits).value();
    }
    auto found = tree.find(leaf, kind, generation);
    if (!found) {
      FUZZ_REQUIRE(leaf < kLeaves || found.error().code == ErrorCode::kInvalidSender);
      continue;
    }
    FUZZ_REQUIRE(leaf < kLeaves && found->message_key.generation == generation);
    FUZZ_REQUIRE(!used.contains({leaf, kind, generation}));
    if (accept) {
      tree.accept(std::move(*found));
      used.insert({leaf, kind, generation});
    }
    FUZZ_REQUIRE(tree.skipped_keys() <= limits.skipped_per_epoch);
  }
  return 0;
}
