#include "vector_file.h"

namespace slipway::mls {

TEST(MessageVectors, Deserialization) { expect_vectors_pass("deserialization.json", 7); }
TEST(MessageVectors, Messages) { expect_vectors_pass("messages.json", 40); }

}  // namespace slipway::mls
