// The Welcome of a commit that adds members (RFC 9420, 12.4.3.1).
#include <algorithm>

#include "crypto/aead.h"
#include "group/commit_build.h"
#include "group/locked_random.h"

namespace slipway::mls {

Result<bool> CommitBuild::do_welcome_phase(Budget& budget) {
  switch (phase_) {
    case Phase::kTree: {
      if (!options_.tree_in_welcome && !options_.tree_in_result) {
        return true;
      }
      if (!tree_encoder_) {
        constexpr size_t kBytesALeaf = 256;
        tree_.reserve(packages_.size() + (diff().member_count() - joiners().size()) * kBytesALeaf);
        tree_encoder_.emplace(diff(), tree_);
      }
      return tree_encoder_->step(budget);
    }
    case Phase::kGroupInfo: {
      MLS_TRY(write_info());
      budget.draw(group_info_.size() / Budget::kCopiedBytes);
      return true;
    }
    case Phase::kSignGroupInfo: {
      if (!signing_) {
        signing_.emplace(new_signer(), kGroupInfoLabel, std::vector<View>{group_info_});
      }
      MLS_ASSIGN(const bool done, signing_->step(budget));
      if (done) {
        append_signature(group_info_, signing_->signature());
        signing_.reset();
      }
      return done;
    }
    case Phase::kSealGroupInfo: {
      MLS_TRY(seal_info());
      budget.draw(group_info_.size() / Budget::kCopiedBytes);
      return true;
    }
    case Phase::kContextHash: {
      if (!hashing_) {
        hashing_.emplace(start_context_hash(*group_->suite, kWelcomeLabel, group_info_));
      }
      if (!hashing_->step(budget)) {
        return false;
      }
      welcome_sealer_.emplace(*group_->suite, hashing_->finish());
      hashing_.reset();
      return true;
    }
    default: return seal_welcome(budget);
  }
}

Status CommitBuild::write_info() {
  Bytes external_pub;
  if (options_.external_pub_in_welcome) {
    MLS_ASSIGN(const KemKey key, external_key(*group_->suite, staged_->next.secrets.external_secret));
    external_pub = to_bytes(key.public_key());
  }
  MLS_ASSIGN(group_info_,
             write_group_info(staged_->next, options_.tree_in_welcome ? View(tree_) : View{}, external_pub,
                              options_.group_info_extensions, self_));
  return {};
}

Status CommitBuild::seal_info() {
  const Suite& suite = *group_->suite;
  const size_t size = group_info_.size();
  group_info_.resize(size + kAeadTagBytes);
  const WelcomeKey key = make_welcome_key(suite, std::move(welcome_secret_));
  return aead_seal(suite, key.key, key.nonce, {View{}}, View(group_info_).first(size), group_info_);
}

Result<HpkeSealed> CommitBuild::seal_for(size_t joiner, Random& random, Bytes& ref) const {
  const Suite& suite = *group_->suite;
  const ProposalList& list = applier_->list();
  const KeyPackage& package =
      list.all[list.adds[joiner]].proposal->as<AddProposal>()->key_package;
  ref = to_bytes(key_package_ref(suite, package));
  SecretBytes secrets;
  secrets.reserve(2 * (suite.hash_size + 2) + encoded_psks_.size());
  SecretWriter writer(secrets);
  writer.write_vector(joiner_secret_);
  writer.write_integer(has_path_, 1);
  if (has_path_) {
    const LeafIndex leaf = applier_->joiners()[joiner];
    const auto step = std::ranges::find_if(path_.steps, [&](const PathStep& candidate) {
      return node_math::covers(candidate.copath, leaf);
    });
    writer.write_vector(path_.derived.secrets[static_cast<size_t>(step - path_.steps.begin())]);
  }
  writer.write_bytes(encoded_psks_);
  return welcome_sealer_->seal(package.init_key, secrets, random);
}

Result<bool> CommitBuild::seal_welcome(Budget& budget) {
  struct SealedJoiner {
    Bytes ref;
    HpkeSealed secrets;
  };
  Writer writer(welcome_);
  if (next_ == 0) {
    constexpr size_t kBytesAJoiner = 256;
    welcome_.reserve(group_info_.size() + joiners().size() * kBytesAJoiner + 64);
    writer(ProtocolVersion::kMls10, WireFormat::kWelcome, group_->suite->id);
    welcome_list_ = writer.begin_vector();
  }
  LockedRandom random(*group_->random);
  while (next_ < joiners().size()) {
    const size_t count = budget.take(joiners().size() - next_, 2 * Budget::kPublicKeyOp);
    if (count == 0) {
      return false;
    }
    std::vector<SealedJoiner> sealed(count);
    std::vector<Status> results(count);
    parallel_for(group_->config.parallel, count, [&](size_t i) {
      auto secrets = seal_for(next_ + i, random, sealed[i].ref);
      if (secrets) {
        sealed[i].secrets = std::move(*secrets);
      } else {
        results[i] = fail(secrets.error());
      }
    });
    for (const Status& result : results) {
      MLS_TRY(result);
    }
    for (const SealedJoiner& joiner : sealed) {
      writer(joiner.ref, joiner.secrets.enc, joiner.secrets.ciphertext);
    }
    next_ += count;
  }
  writer.end_vector(welcome_list_);
  writer(group_info_);
  return true;
}

}  // namespace slipway::mls
