#include "tree/leaf.h"

#include <cassert>

#include "crypto/kem_key.h"
#include "crypto/signature_key.h"

namespace slipway::mls {
namespace {

// Walks a borrowed list to its end, so that later walks cannot fail.
template <class T>
Status check_list(const ListView<T>& list, const Limits& limits) {
  return list.for_each([](T&&) -> Status { return {}; }, limits);
}

Status check_extensions(const ListView<ExtensionView>& list, const Limits& limits) {
  std::vector<ExtensionType> seen;
  return list.for_each(
      [&](ExtensionView&& extension) -> Status {
        for (const ExtensionType type : seen) {
          if (type == extension.type) {
            return fail(ErrorCode::kDuplicateEntry, "reading a LeafNode: one extension type twice");
          }
        }
        seen.push_back(extension.type);
        return {};
      },
      limits);
}

}  // namespace

void Leaf::note_fields(const LeafNodeView& view, const uint8_t* start) {
  const auto place = [start](View part) -> Piece {
    if (part.empty()) {
      return {};
    }
    return {static_cast<uint32_t>(part.data() - start), static_cast<uint32_t>(part.size())};
  };
  encryption_key_ = place(view.encryption_key);
  signature_key_ = place(view.signature_key);
  credential_ = place(view.credential.content);
  credential_type_ = view.credential.type;
  capabilities_ = {place(view.capabilities.versions.encoded()),
                   place(view.capabilities.cipher_suites.encoded()),
                   place(view.capabilities.extensions.encoded()),
                   place(view.capabilities.proposals.encoded()),
                   place(view.capabilities.credentials.encoded())};
  source_ = view.source;
  parent_hash_ = place(view.parent_hash);
  extensions_ = place(view.extensions.encoded());
  signature_ = place(view.signature);
  signed_size_ = static_cast<uint32_t>(encoded_.size() - vector_size(view.signature.size()));
  if (source_ == LeafNodeSource::kKeyPackage) {
    // The lifetime is the last field before the extensions.
    lifetime_at_ = signed_size_ -
                   static_cast<uint32_t>(vector_size(view.extensions.encoded().size())) - 16;
  }
}

Result<LeafPtr> Leaf::read(Reader& reader) {
  const View before = reader.rest();
  LeafNodeView view;
  reader(view);
  MLS_TRY(reader.status());
  const Limits& limits = reader.limits();
  MLS_TRY(check_list(view.capabilities.versions, limits));
  MLS_TRY(check_list(view.capabilities.cipher_suites, limits));
  MLS_TRY(check_list(view.capabilities.extensions, limits));
  MLS_TRY(check_list(view.capabilities.proposals, limits));
  MLS_TRY(check_list(view.capabilities.credentials, limits));
  MLS_TRY(check_extensions(view.extensions, limits));
  auto leaf = std::make_shared<Leaf>();
  leaf->encoded_ = to_bytes(before.first(before.size() - reader.remaining()));
  leaf->note_fields(view, before.data());
  return LeafPtr(std::move(leaf));
}

Result<LeafPtr> Leaf::parse(View encoded, const Limits& limits) {
  Reader reader(encoded, limits);
  MLS_ASSIGN(LeafPtr leaf, read(reader));
  MLS_TRY(reader.finish());
  return leaf;
}

LeafPtr Leaf::from(const LeafNode& node) {
  auto leaf = std::make_shared<Leaf>();
  encode_to(leaf->encoded_, node);
  leaf->encoded_.shrink_to_fit();
  auto view = decode<LeafNodeView>(leaf->encoded_);
  assert(view.has_value());
  if (view) {
    leaf->note_fields(*view, leaf->encoded_.data());
  }
  return leaf;
}

Lifetime Leaf::lifetime() const {
  Lifetime lifetime;
  if (source_ == LeafNodeSource::kKeyPackage) {
    Reader reader(View(encoded_).subspan(lifetime_at_, 16));
    reader(lifetime);
  }
  return lifetime;
}

LeafNode Leaf::decode_all() const {
  auto node = decode<LeafNode>(encoded_);
  assert(node.has_value());
  return node ? std::move(*node) : LeafNode{};
}

bool Leaf::lists(size_t capability, uint16_t value) const {
  const View list = piece(capabilities_[capability]);
  for (size_t i = 0; i + 1 < list.size(); i += 2) {
    if ((list[i] << 8 | list[i + 1]) == value) {
      return true;
    }
  }
  return false;
}

bool Leaf::supports(ExtensionType type) const {
  return is_default(type) || lists(2, static_cast<uint16_t>(type));
}
bool Leaf::supports(ProposalType type) const {
  return is_default(type) || lists(3, static_cast<uint16_t>(type));
}
bool Leaf::supports(CredentialType type) const { return lists(4, static_cast<uint16_t>(type)); }

Status Leaf::verify_signature(const Suite& suite, View group_id, LeafIndex index) const {
  Bytes context;
  leaf_node_tbs_context(source_, group_id, index, context);
  Status status = verify_once(suite, signature_key(), kLeafNodeLabel,
                              {View(encoded_).first(signed_size_), context}, piece(signature_));
  if (!status) {
    MLS_TRY(check_signature_point(suite, signature_key()));  // which may be the reason
  }
  return status;
}

Status Leaf::validate_keys(const Suite& suite) const {
  MLS_TRY(validate_kem_public_key(suite, encryption_key()));
  return validate_signature_public_key(suite, signature_key());
}

}  // namespace slipway::mls
