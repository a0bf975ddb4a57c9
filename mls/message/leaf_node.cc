#include "message/leaf_node.h"

namespace slipway::mls {

void leaf_node_tbs_context(LeafNodeSource source, View group_id, uint32_t leaf_index, Bytes& context) {
  context.clear();
  if (source != LeafNodeSource::kKeyPackage) {
    Writer writer(context);
    writer(group_id, leaf_index);
  }
}

Bytes leaf_node_tbs(const LeafNode& leaf, View group_id, uint32_t leaf_index) {
  Bytes out;
  Writer writer(out);
  LeafNode::signed_fields(writer, leaf);
  if (leaf.source != LeafNodeSource::kKeyPackage) {
    writer(group_id, leaf_index);
  }
  return out;
}

View leaf_node_signed_part(View encoded_leaf, const LeafNodeView& leaf) {
  return encoded_leaf.first(encoded_leaf.size() - vector_size(leaf.signature.size()));
}

}  // namespace slipway::mls
