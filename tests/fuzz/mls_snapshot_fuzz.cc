// Snapshots that are damaged and yet have the right check sum: refused or restored, never a crash.
#include "crypto/hash.h"
#include "group/group.h"
#include "require.h"

using namespace slipway::mls;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const SecretBytes good = [] {
    const Suite& suite = *find_suite(CipherSuite{1});
    auto key = SignatureKey::generate(suite, system_random());
    auto group = Group::create({}, {.suite = &suite, .signer = &*key,
                                    .leaf = {basic_credential(as_view("a")),
                                             simple_capabilities({suite.id}), {}}});
    FUZZ_REQUIRE(group.has_value());
    (void)group->propose_update();
    CommitOptions commit;
    commit.force_path = true;
    (void)group->commit(commit);
    return group->save();
  }();
  const Suite& suite = *find_suite(CipherSuite{1});
  SecretBytes bytes(good.begin(), good.end() - static_cast<ptrdiff_t>(suite.hash_size));
  for (size_t i = 0; i + 2 < size; i += 3) {
    bytes[(data[i] << 8 | data[i + 1]) % bytes.size()] ^= data[i + 2];
  }
  const HashValue sum = hash(suite, View(bytes));
  bytes.insert(bytes.end(), View(sum).begin(), View(sum).end());
  auto restored = Group::restore({}, bytes);
  if (restored) {
    (void)restored->accept_commit();
    (void)restored->protect(as_view("x"));
    (void)restored->save();
  }
  return 0;
}
