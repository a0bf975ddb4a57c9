#include "vector_file.h"

namespace slipway::mls {

TEST(KeyScheduleVectors, TranscriptHashes) { expect_vectors_pass("transcript-hashes.json", 5); }
TEST(KeyScheduleVectors, PskSecret) { expect_vectors_pass("psk_secret.json", 27); }
TEST(KeyScheduleVectors, KeySchedule) { expect_vectors_pass("key-schedule.json", 5); }
TEST(KeyScheduleVectors, SecretTree) { expect_vectors_pass("secret-tree.json", 7); }
TEST(KeyScheduleVectors, MessageProtection) { expect_vectors_pass("message-protection.json", 5); }
TEST(KeyScheduleVectors, Welcome) { expect_vectors_pass("welcome.json", 5); }

}  // namespace slipway::mls
