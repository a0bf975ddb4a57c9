#include "../vector_file.h"

namespace slipway::mls {
namespace {

TEST(GroupVectors, PassiveClientWelcome) { expect_vectors_pass("passive-client-welcome.json", 20); }
TEST(GroupVectors, PassiveClientCommit) {
  expect_vectors_pass("passive-client-handling-commit.json", 32);
}
TEST(GroupVectors, PassiveClientRandom) { expect_vectors_pass("passive-client-random.json", 1); }
TEST(GroupVectors, InteropWelcomeJoin) { expect_vectors_pass("interop-welcome_join.json", 20); }
TEST(GroupVectors, InteropCommit) { expect_vectors_pass("interop-commit.json", 110); }
TEST(GroupVectors, InteropApplication) { expect_vectors_pass("interop-application.json", 15); }
TEST(GroupVectors, InteropExternalJoin) { expect_vectors_pass("interop-external_join.json", 15); }
TEST(GroupVectors, InteropExternalProposals) {
  expect_vectors_pass("interop-external_proposals.json", 70);
}
TEST(GroupVectors, InteropReInit) { expect_vectors_pass("interop-reinit.json", 120); }
TEST(GroupVectors, InteropBranch) { expect_vectors_pass("interop-branch.json", 80); }

}  // namespace
}  // namespace slipway::mls
