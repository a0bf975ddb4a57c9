// What the caller decides: who is who, who may do what, and how messages look. The module asks; it has no
// opinion about identities, keeps no key store and reads no clock.
//
// All calls come from the thread that called into the group, inside that call. Do not call back into it.
#pragma once

#include <optional>

#include "base/error.h"
#include "crypto/parallel.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "message/framed_content.h"
#include "tree/leaf.h"

namespace slipway::mls {

// Where a leaf or credential is met.
enum class LeafUse : uint8_t {
  kKeyPackage,      // of an Add that somebody else sent
  kOwnAdd,          // of a key package that we are adding
  kWelcome,         // in the tree of a group that we are joining
  kUpdate,          // new leaf of an Update
  kCommit,          // new leaf of a committer's path
  kExternalCommit,  // leaf of somebody who joins by external commit
};

struct LeafCheck {
  LeafUse use{};
  const Leaf* leaf = nullptr;
  std::optional<LeafIndex> index;  // where it stands or will stand, if that is known
  uint64_t now_s = 0;              // as passed to the call; seconds since 1970
};

enum class ProposalStage : uint8_t { kSend, kReceive, kCommit };

struct ProposalCheck {
  ProposalStage stage{};
  const Proposal* proposal = nullptr;
  Sender sender;                   // who proposed it
};

class Policy {
 public:
  virtual ~Policy() = default;

  // ---- Identities (5.3).
  // Is the credential valid for the leaf's signature key? Anything but success refuses the leaf with
  // kInvalidCredential. Default: every credential is.
  virtual Status check_credential(const LeafCheck& check);
  virtual Status check_external_sender(const ExternalSender& sender, uint64_t now_s);
  // May `after` take the place of `before` in an Update or a path? Default: type and content of the
  // credential stay the same.
  virtual bool valid_successor(const Leaf& before, const Leaf& after, uint64_t now_s);
  // Bytes that are equal for leaves of one client and no others; they may point into the leaf. A group has
  // each at most once. Empty (the default): clients are told apart by their signature keys alone.
  virtual View client_id(const Leaf& leaf);
  // Whether a joiner may remove `before` when it comes back with `after` by external commit. Default: the
  // client ids are equal and not empty, or else the credentials are equal.
  virtual bool same_client(const Leaf& before, const Leaf& after);
  // What is handed out as the identity of a sender: a part of the leaf. Default: the credential's content.
  virtual View identity(const Leaf& leaf);

  // ---- Lifetimes (7.2). Key packages that we add ourselves are always checked.
  virtual bool check_lifetime(LeafUse use);  // default: of Adds by others, not in a Welcome

  // ---- What is allowed here.
  // May this proposal be sent, kept, or be part of a commit? kPolicyRefused. Default: all may.
  virtual Status check_proposal(const ProposalCheck& check);
  // Is this id taken by a group that we are in? Then a Welcome for it is refused. Default: no.
  virtual bool group_exists(View group_id);

  // ---- How messages look.
  virtual WireFormat handshake_wire_format();      // default: PrivateMessage
  // Zero bytes to add to a content of that size in a PrivateMessage. Default: none.
  virtual size_t padding(ContentType type, size_t content_size);
  virtual bool path_always();                      // default: only when RFC 12.4 asks for one
};

// PSKs of the caller's. Each Secret handed out is wiped after use.
class PskStore {
 public:
  virtual ~PskStore() = default;
  virtual std::optional<Secret> external_psk(View psk_id) = 0;
  // Of other groups or of epochs that a group itself no longer keeps. Default: none.
  virtual std::optional<Secret> resumption_psk(View group_id, uint64_t epoch);
};

// What a group works with. The objects pointed to belong to the caller and outlive the group.
struct GroupConfig {
  Policy* policy = nullptr;      // null: the defaults above
  PskStore* psks = nullptr;      // null: no PSKs
  Random* random = nullptr;      // null: the system's
  Parallel* parallel = nullptr;  // null: one thread
  // P-256: a sender's signatures are verified in less than half the time from its 512th message on, at 150 KiB for each of at most
  // 64 senders and one pause of 26 ms. Without it no message takes long.
  bool hasten_senders = false;
  Limits limits;
};

}  // namespace slipway::mls
