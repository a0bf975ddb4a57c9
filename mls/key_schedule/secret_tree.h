// The secret tree (RFC 9420, 9): message keys of each leaf, in order or not, each used once.
//
// Nothing grows with the group: a leaf's ratchets come to be when it first sends, the tree keeps only
// the siblings on the way there. Receiving takes two steps, so that a forged message uses nothing up:
// find() looks a key up and changes no ratchet; accept() does, once AEAD and signature are right.
//
// One thread at a time. In steady state (messages in order, leaf seen before) nothing allocates.
#pragma once

#include <array>
#include <memory>

#include "base/budget.h"
#include "base/error.h"
#include "base/limits.h"
#include "crypto/hkdf.h"
#include "message/reader.h"
#include "message/types.h"
#include "message/writer.h"

namespace slipway::mls {

struct MessageKey {
  Secret key;
  Secret nonce;
  uint32_t generation = 0;
};

// A message key as it is stored: 48 bytes, wiped as a Secret is.
class StoredKey {
 public:
  StoredKey(const MessageKey& key);  // NOLINT: the same thing
  ~StoredKey() { wipe(bytes_); }
  StoredKey(StoredKey&& other) noexcept;
  StoredKey& operator=(StoredKey&& other) noexcept;
  StoredKey(const StoredKey&) = delete;
  StoredKey& operator=(const StoredKey&) = delete;

  uint32_t generation() const { return generation_; }
  MessageKey load(const Suite& suite) const;

 private:
  static constexpr size_t kMaxKeyBytes = 32;
  uint32_t generation_;
  std::array<uint8_t, kMaxKeyBytes + kAeadNonceBytes> bytes_;
};

enum class RatchetKind : uint8_t { kHandshake = 0, kApplication = 1 };
constexpr RatchetKind ratchet_of(ContentType type) {
  return type == ContentType::kApplication ? RatchetKind::kApplication : RatchetKind::kHandshake;
}

// A key found, and how the ratchet would stand afterwards. Dropping it changes nothing.
struct FoundKey {
  MessageKey message_key;
  uint32_t leaf = 0;
  RatchetKind kind{};
  bool from_skipped = false;
  Secret next_secret;               // not from_skipped: ratchet secret of generation + 1
  std::vector<StoredKey> skipped;   // generations between the ratchet and this key
};

class SecretTree {
 public:
  SecretTree();  // holds nothing
  // `limits` is copied.
  SecretTree(const Suite& suite, Secret encryption_secret, uint32_t leaf_count,
             const Limits& limits = kDefaultLimits);
  ~SecretTree();
  SecretTree(SecretTree&&) noexcept;
  SecretTree& operator=(SecretTree&&) noexcept;

  bool empty() const { return state_ == nullptr; }
  uint32_t leaf_count() const;

  // Next key of the own leaf, used up at once: a failed send skips a generation, never repeats one.
  // kInvalidSender (leaf out of range); kWrongState after 2^32 messages.
  Result<MessageKey> next(uint32_t leaf, RatchetKind kind);
  // Generation that next() would give; 2^32 if there is none left.
  uint64_t next_generation(uint32_t leaf, RatchetKind kind) const;

  // kInvalidSender (leaf out of range), kGenerationTooFarAhead, kGenerationGone.
  Result<FoundKey> find(uint32_t leaf, RatchetKind kind, uint32_t generation);
  // Deletes the key, moves the ratchet, keeps what was skipped within the bounds (oldest go first).
  // `found` must be this tree's latest for that leaf and kind.
  void accept(FoundKey found);

  size_t skipped_keys() const;  // held now, of all ratchets

  // All of it; and one ratchet only, for a cheap save after a sent or received message. The leaf of
  // save_ratchet must have sent. Restoring fails with kBadSnapshot.
  void save(SecretWriter& writer) const;
  static Result<SecretTree> restore(const Suite& suite, Reader& reader,
                                    const Limits& limits = kDefaultLimits);
  class Restore;  // the same in steps
  void save_ratchet(uint32_t leaf, RatchetKind kind, SecretWriter& writer) const;
  // Puts a ratchet in the place of the one that was restored before it.
  Status restore_ratchet(Reader& reader);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What `reader` reads from, and the limits, stay where they are until it is done.
class SecretTree::Restore {
 public:
  // Takes the tree off `reader`, unread.
  static Result<Restore> start(const Suite& suite, Reader& reader, const Limits& limits);
  Result<bool> step(Budget& budget);
  SecretTree take() { return std::move(tree_); }

 private:
  Restore() = default;
  Status read_node();
  Status read_leaf();
  Status read_entry();

  SecretTree tree_;
  Reader nodes_{{}};
  Reader leaves_{{}};
  Reader entries_{{}};
};

}  // namespace slipway::mls
