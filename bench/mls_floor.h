#pragma once
// What the public-key operations of a cipher suite cost by themselves, through kept OpenSSL objects and none of the
// module's code: the floor that the module is measured against. By thread CPU time.

#include <cstdint>
#include <memory>

namespace slipway::bench {

// Nanoseconds each.
struct Primitives {
  double dh = 0;
  double keygen = 0;
  double sign = 0;       // 256 B
  double verify = 0;     // 256 B
  double expand = 0;     // HKDF-Expand of one hash
  double sign_16k = 0;   // zero unless asked for, as the next three
  double verify_16k = 0;
  double seal_16k = 0;   // AES-128-GCM
  double open_16k = 0;
};

Primitives mean(const Primitives& a, const Primitives& b);

class FloorMeter {
 public:
  // Suite 1 (X25519, Ed25519) or 2 (P-256), both with SHA-256 and AES-128-GCM.
  explicit FloorMeter(std::uint16_t suite);
  ~FloorMeter();
  FloorMeter(const FloorMeter&) = delete;
  FloorMeter& operator=(const FloorMeter&) = delete;

  // A few calls of each operation, some milliseconds in all.
  Primitives sample(bool large_messages = false);

 private:
  struct Objects;
  std::unique_ptr<Objects> objects_;
};

}  // namespace slipway::bench
