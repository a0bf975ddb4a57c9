// A leaf of the tree as it is kept: its encoded bytes, which hashing, signing and sending need again and
// again, and the places of its fields in them. One allocation more than the bytes themselves; thousands of
// members make this matter. Immutable, and shared by the trees, diffs and states that hold it.
#pragma once

#include <array>
#include <memory>

#include "base/error.h"
#include "base/limits.h"
#include "crypto/suite.h"
#include "message/leaf_node.h"
#include "tree/node_math.h"

namespace slipway::mls {

class Leaf;
using LeafPtr = std::shared_ptr<const Leaf>;

class Leaf {
 public:
  // Checks the whole encoding: lists, bounds, extension types unique. Not the keys, not the signature.
  static Result<LeafPtr> parse(View encoded, const Limits& limits);
  // The same for a leaf that begins where the reader stands; errors as above, or the reader's.
  static Result<LeafPtr> read(Reader& reader);
  // Of a leaf that was decoded, and thus checked, before.
  static LeafPtr from(const LeafNode& node);

  View encoded() const { return encoded_; }
  View encryption_key() const { return piece(encryption_key_); }
  View signature_key() const { return piece(signature_key_); }
  CredentialType credential_type() const { return credential_type_; }
  View credential_content() const { return piece(credential_); }
  Credential credential() const { return {credential_type_, to_bytes(credential_content())}; }
  LeafNodeSource source() const { return source_; }
  Lifetime lifetime() const;                       // source key_package
  View parent_hash() const { return piece(parent_hash_); }  // source commit, else empty
  LeafNode decode_all() const;

  // Capabilities (7.2). Default types are supported by all and not listed.
  bool supports(ExtensionType type) const;
  bool supports(ProposalType type) const;
  bool supports(CredentialType type) const;
  bool supports(CipherSuite suite) const { return lists(1, static_cast<uint16_t>(suite)); }
  bool supports(ProtocolVersion version) const { return lists(0, static_cast<uint16_t>(version)); }

  // Calls visit(type, data) for each extension until it returns false; whether it never did.
  template <class Visit>
  bool all_extensions(Visit&& visit) const {
    bool all = true;
    ListView<ExtensionView> list(piece(extensions_));
    (void)list.for_each([&](ExtensionView&& extension) -> Status {
      if (all && !visit(extension.type, extension.data)) {
        all = false;
      }
      return {};
    });
    return all;
  }

  // The leaf's own signature (7.2), for the group and place it stands at. Any thread.
  Status verify_signature(const Suite& suite, View group_id, LeafIndex index) const;
  // Its keys have the right form and lie where they should.
  Status validate_keys(const Suite& suite) const;

  size_t memory_bytes() const { return sizeof(*this) + encoded_.capacity(); }

  Leaf() = default;  // by the functions above only

 private:
  struct Piece {
    uint32_t at = 0;
    uint32_t size = 0;
  };

  View piece(Piece p) const { return View(encoded_).subspan(p.at, p.size); }
  bool lists(size_t capability, uint16_t value) const;
  // `view` borrows from bytes that begin at `start` and were copied to encoded_.
  void note_fields(const LeafNodeView& view, const uint8_t* start);

  Bytes encoded_;
  Piece encryption_key_;
  Piece signature_key_;
  Piece credential_;
  std::array<Piece, 5> capabilities_;  // in the order of the struct
  Piece parent_hash_;
  Piece extensions_;
  Piece signature_;
  uint32_t signed_size_ = 0;           // bytes before the signature
  uint32_t lifetime_at_ = 0;
  CredentialType credential_type_{};
  LeafNodeSource source_ = LeafNodeSource::kKeyPackage;
};

}  // namespace slipway::mls
