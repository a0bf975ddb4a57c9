#include "../vector_file.h"

namespace slipway::mls {
namespace {

TEST(TreeVectors, TreeMath) { expect_vectors_pass("tree-math.json", 5); }
TEST(TreeVectors, TreeOperations) { expect_vectors_pass("tree-operations.json", 3); }
TEST(TreeVectors, TreeValidation) { expect_vectors_pass("tree-validation.json", 35); }
TEST(TreeVectors, TreeKem) { expect_vectors_pass("treekem.json", 27); }

}  // namespace
}  // namespace slipway::mls
