// SignWithLabel and VerifyWithLabel (RFC 9420, 5.1.2) over megabytes, in steps: a GroupInfo with a tree of
// thousands inside, a commit that adds them. The plain calls are in crypto/signature_key.h.
#pragma once

#include <memory>
#include <vector>

#include "crypto/long_hash.h"
#include "crypto/signature_key.h"

namespace slipway::mls {

// The key, and what of the content is longer than LongInput::kCopied, stay where they are until the last step.
class SignSteps {
 public:
  // The key is not empty.
  SignSteps(const SignatureKey& key, std::string_view label, const std::vector<View>& content);
  ~SignSteps();
  SignSteps(SignSteps&&) noexcept;
  SignSteps& operator=(SignSteps&&) noexcept;

  Result<bool> step(Budget& budget);
  const Signature& signature() const;  // once step() has said true

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Like verify_once: key and signature are copied, content as above.
class VerifySteps {
 public:
  VerifySteps(const Suite& suite, View public_key, std::string_view label, const std::vector<View>& content,
              View signature);
  ~VerifySteps();
  VerifySteps(VerifySteps&&) noexcept;
  VerifySteps& operator=(VerifySteps&&) noexcept;

  // True when it verifies; kBadSignature, kInvalidKey.
  Result<bool> step(Budget& budget);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace slipway::mls
