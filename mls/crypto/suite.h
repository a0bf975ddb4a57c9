// Cipher suites 1 to 7 of RFC 9420 (5.1, 17.1): sizes and algorithm handles of each, in one table.
//
// Nothing in the module knows a size that it has not asked here. A suite with another KEM adds a row
// and a KemId. All is built on first use, once per process, and then read-only: any thread.
#pragma once

#include <openssl/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "crypto/bytes.h"

namespace slipway::mls {

// Values off this list survive a round trip through the codec; only groups refuse them.
enum class CipherSuite : uint16_t {
  kX25519Aes128Sha256Ed25519 = 1,
  kP256Aes128Sha256P256 = 2,
  kX25519ChaCha20Sha256Ed25519 = 3,
  kX448Aes256Sha512Ed448 = 4,
  kP521Aes256Sha512P521 = 5,
  kX448ChaCha20Sha512Ed448 = 6,
  kP384Aes256Sha384P384 = 7,
};

enum class KemId : uint16_t { kP256 = 0x10, kP384 = 0x11, kP521 = 0x12, kX25519 = 0x20, kX448 = 0x21 };
enum class KdfId : uint16_t { kSha256 = 1, kSha384 = 2, kSha512 = 3 };
enum class AeadId : uint16_t { kAes128Gcm = 1, kAes256Gcm = 2, kChaCha20Poly1305 = 3 };
enum class SignatureScheme : uint8_t { kEd25519, kP256, kEd448, kP521, kP384 };

struct Suite {
  CipherSuite id;
  const char* name;  // as in the IANA registry
  KemId kem;
  KdfId kem_kdf;  // the KEM's own hash, which need not be the suite's (RFC 9180, 7.1)
  KdfId kdf;
  AeadId aead;
  SignatureScheme signature;

  // Sizes in bytes.
  size_t hash_size;                // Nh, also of every KDF output and secret
  size_t aead_key_size;            // Nk
  size_t kem_output_size;          // Nenc
  size_t kem_public_key_size;      // Npk
  size_t kem_private_key_size;     // Nsk
  size_t signature_public_key_size;
  size_t signature_private_key_size;

  // HPKE's suite ids and the parts of its key schedule that never change (RFC 9180, 4.1, 5.1).
  InlineBytes<8> kem_suite_id;     // "KEM" and the KEM's id
  InlineBytes<16> hpke_suite_id;   // "HPKE" and three ids
  HashValue hpke_psk_id_hash;      // of the empty psk_id
};

// Null if the suite is not one of ours.
const Suite* find_suite(CipherSuite id);
inline const Suite* find_suite(uint16_t id) { return find_suite(static_cast<CipherSuite>(id)); }
// All of ours, in order of their ids.
std::span<const Suite> all_suites();

}  // namespace slipway::mls
