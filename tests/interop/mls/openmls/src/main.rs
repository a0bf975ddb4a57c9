// OpenMLS behind the requests of `slipway-mls client`, as far as the tests need them.
#[path = "../../protocol.rs"]
mod protocol;

use openmls::prelude::tls_codec::{Deserialize, Serialize};
use openmls::prelude::*;
use openmls::schedule::{PreSharedKeyId, Psk, psk::{ExternalPsk, ResumptionPsk, ResumptionPskUsage}};
use openmls::messages::external_proposals::{ExternalProposal, JoinProposal};
use openmls::messages::proposals::{PreSharedKeyProposal, Proposal};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use protocol::{from_hex, serve, text, to_hex, Answer, Request};
use serde_json::json;

const PAST_EPOCHS: usize = 3;

struct Member {
    provider: OpenMlsRustCrypto,
    suite: Ciphersuite,
    signer: SignatureKeyPair,
    credential: CredentialWithKey,
    capabilities: Capabilities,
    wire_format: WireFormatPolicy,
    group: Option<MlsGroup>,
}

fn message(bytes: Vec<u8>) -> Result<MlsMessageIn, String> {
    MlsMessageIn::tls_deserialize_exact(bytes).map_err(text)
}

fn hex_of(message: &MlsMessageOut) -> Result<String, String> {
    Ok(to_hex(&message.to_bytes().map_err(text)?))
}

fn tree_of(request: &Request) -> Result<Option<RatchetTreeIn>, String> {
    if !request.has("tree") {
        return Ok(None);
    }
    RatchetTreeIn::tls_deserialize_exact(request.bytes("tree")?).map(Some).map_err(text)
}

fn extensions_of(request: &Request) -> Result<Extensions<GroupContext>, String> {
    let mut list = Vec::new();
    for each in request.0["extensions"].as_array().into_iter().flatten() {
        let number = each["type"].as_u64().ok_or("type must be a number")? as u16;
        let data = VLBytes::new(from_hex(each["data"].as_str().ok_or("data must be text")?)?);
        // By its own decoder, which makes something better than bytes of the types that it knows.
        let mut encoded = number.to_be_bytes().to_vec();
        encoded.extend(data.tls_serialize_detached().map_err(text)?);
        list.push(Extension::tls_deserialize_exact(encoded).map_err(text)?);
    }
    Extensions::from_vec(list).map_err(text)
}

impl Member {
    fn new(request: &Request) -> Result<Member, String> {
        let suite = Ciphersuite::try_from(request.number("suite")? as u16).map_err(text)?;
        let provider = OpenMlsRustCrypto::default();
        let signer = SignatureKeyPair::new(suite.signature_algorithm()).map_err(text)?;
        signer.store(provider.storage()).map_err(text)?;
        let credential = CredentialWithKey {
            credential: BasicCredential::new(request.string("name")?.as_bytes().to_vec()).into(),
            signature_key: signer.to_public_vec().into(),
        };
        let types = request.numbers("extension_types")?.into_iter();
        let types: Vec<_> = types.map(|number| ExtensionType::from(number as u16)).collect();
        let capabilities = Capabilities::new(None, Some(&[suite]), Some(&types), None, None);
        let wire_format = match request.0["wire_format"].as_str() {
            Some("public") => PURE_PLAINTEXT_WIRE_FORMAT_POLICY,
            _ => MIXED_CIPHERTEXT_WIRE_FORMAT_POLICY,
        };
        Ok(Member { provider, suite, signer, credential, capabilities, wire_format, group: None })
    }

    fn group(&mut self) -> Result<&mut MlsGroup, String> {
        self.group.as_mut().ok_or("no group".to_string())
    }

    fn keep(&mut self, group: MlsGroup) -> Answer {
        let reply = json!({"group": to_hex(group.group_id().as_slice()), "epoch": group.epoch().as_u64(),
                           "own_leaf": group.own_leaf_index().u32()});
        self.group = Some(group);
        Ok(reply)
    }

    fn forget(&mut self) -> Result<(), String> {
        if let Some(mut group) = self.group.take() {
            group.delete(self.provider.storage()).map_err(text)?;
        }
        Ok(())
    }

    fn join_config(&self) -> MlsGroupJoinConfig {
        MlsGroupJoinConfig::builder()
            .wire_format_policy(self.wire_format)
            .max_past_epochs(PAST_EPOCHS)
            .number_of_resumption_psks(PAST_EPOCHS)
            .use_ratchet_tree_extension(true)
            .build()
    }

    fn create(&mut self, request: &Request) -> Answer {
        let config = MlsGroupCreateConfig::builder()
            .ciphersuite(self.suite)
            .wire_format_policy(self.wire_format)
            .max_past_epochs(PAST_EPOCHS)
            .number_of_resumption_psks(PAST_EPOCHS)
            .capabilities(self.capabilities.clone())
            .with_group_context_extensions(extensions_of(request)?)
            .use_ratchet_tree_extension(true)
            .build();
        let id = GroupId::from_slice(&request.bytes("group_id")?);
        let made = MlsGroup::new_with_group_id(&self.provider, &self.signer, &config, id, self.credential.clone());
        self.keep(made.map_err(text)?)
    }

    fn new_package(&mut self) -> Result<KeyPackage, String> {
        let made = KeyPackage::builder()
            .leaf_node_capabilities(self.capabilities.clone())
            .build(self.suite, &self.provider, &self.signer, self.credential.clone());
        Ok(made.map_err(text)?.key_package().clone())
    }

    fn key_package(&mut self) -> Answer {
        Ok(json!({"key_package": hex_of(&MlsMessageOut::from(self.new_package()?))?}))
    }

    fn package_of(&self, bytes: Vec<u8>) -> Result<KeyPackage, String> {
        match message(bytes)?.extract() {
            MlsMessageBodyIn::KeyPackage(package) => {
                package.validate(self.provider.crypto(), ProtocolVersion::Mls10).map_err(text)
            }
            _ => Err("not a key package".into()),
        }
    }

    fn join(&mut self, request: &Request) -> Answer {
        let MlsMessageBodyIn::Welcome(welcome) = message(request.bytes("welcome")?)?.extract() else {
            return Err("not a Welcome".into());
        };
        self.forget()?;
        let staged =
            StagedWelcome::new_from_welcome(&self.provider, &self.join_config(), welcome, tree_of(request)?);
        let group = staged.map_err(text)?.into_group(&self.provider).map_err(text)?;
        self.keep(group)
    }

    fn external_join(&mut self, request: &Request) -> Answer {
        let MlsMessageBodyIn::GroupInfo(info) = message(request.bytes("group_info")?)?.extract() else {
            return Err("not a GroupInfo".into());
        };
        self.forget()?;
        let mut builder = MlsGroup::external_commit_builder()
            .with_config(self.join_config())
            .with_aad(request.bytes_or_empty("authenticated_data")?);
        if let Some(tree) = tree_of(request)? {
            builder = builder.with_ratchet_tree(tree);
        }
        // A former leaf with the same signature key is removed without being asked.
        let leaf = LeafNodeParameters::builder().with_capabilities(self.capabilities.clone()).build();
        let (group, made) = builder
            .build_group(&self.provider, info, self.credential.clone())
            .map_err(text)?
            .leaf_node_parameters(leaf)
            .load_psks(self.provider.storage())
            .map_err(text)?
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true)
            .map_err(text)?
            .finalize(&self.provider)
            .map_err(text)?;
        let commit = hex_of(made.commit())?;
        let mut reply = self.keep(group)?;
        reply["commit"] = json!(commit);
        Ok(reply)
    }

    // Group and epoch, of a GroupInfo.
    fn place_of(request: &Request) -> Result<(GroupId, GroupEpoch), String> {
        match message(request.bytes("group_info")?)?.extract() {
            MlsMessageBodyIn::GroupInfo(info) => Ok((info.group_id().clone(), info.epoch())),
            _ => Err("not a GroupInfo".into()),
        }
    }

    // An Add by the new member itself.
    fn propose_join(&mut self, request: &Request) -> Answer {
        let (id, epoch) = Self::place_of(request)?;
        let package = self.new_package()?;
        let made = JoinProposal::new::<<OpenMlsRustCrypto as OpenMlsProvider>::StorageProvider>(
            package, id, epoch, &self.signer);
        Ok(json!({"proposal": hex_of(&made.map_err(text)?)?}))
    }

    // An Add or a Remove by somebody outside whom the group's external_senders name.
    fn external_proposal(&mut self, request: &Request) -> Answer {
        let (id, epoch) = Self::place_of(request)?;
        let sender = SenderExtensionIndex::new(request.number("sender_index")? as u32);
        let made = if request.has("key_package") {
            let package = self.package_of(request.bytes("key_package")?)?;
            ExternalProposal::new_add::<OpenMlsRustCrypto>(package, id, epoch, &self.signer, sender).map_err(text)?
        } else {
            let leaf = LeafNodeIndex::new(request.number("leaf")? as u32);
            ExternalProposal::new_remove::<OpenMlsRustCrypto>(leaf, id, epoch, &self.signer, sender).map_err(text)?
        };
        Ok(json!({"proposal": hex_of(&made)?}))
    }

    fn external_psk(&self, id: Vec<u8>) -> Result<PreSharedKeyId, String> {
        PreSharedKeyId::new(self.suite, self.provider.rand(), Psk::External(ExternalPsk::new(id))).map_err(text)
    }

    fn resumption_psk(&mut self, epoch: u64) -> Result<PreSharedKeyId, String> {
        let id = self.group()?.group_id().clone();
        let psk = Psk::Resumption(ResumptionPsk::new(ResumptionPskUsage::Application, id, epoch.into()));
        PreSharedKeyId::new(self.suite, self.provider.rand(), psk).map_err(text)
    }

    fn propose(&mut self, op: &str, request: &Request) -> Answer {
        let data = request.bytes_or_empty("authenticated_data")?;
        let mut group = self.group.take().ok_or("no group")?;
        group.set_aad(data);
        let made = self.proposal(&mut group, op, request);
        self.group = Some(group);
        Ok(json!({"proposal": hex_of(&made?)?}))
    }

    fn proposal(&self, group: &mut MlsGroup, op: &str, request: &Request) -> Result<MlsMessageOut, String> {
        let provider = &self.provider;
        match op {
            "add" => {
                let package = self.package_of(request.bytes("key_package")?)?;
                group.propose_add_member(provider, &self.signer, &package).map(|made| made.0).map_err(text)
            }
            "update" => {
                let leaf = LeafNodeParameters::default();
                group.propose_self_update(provider, &self.signer, leaf).map(|made| made.0).map_err(text)
            }
            "remove" => {
                let leaf = LeafNodeIndex::new(request.number("leaf")? as u32);
                group.propose_remove_member(provider, &self.signer, leaf).map(|made| made.0).map_err(text)
            }
            "propose_psk" => {
                let id = self.external_psk(request.bytes("psk_id")?)?;
                group.propose_pre_shared_key(provider, &self.signer, id).map(|made| made.0).map_err(text)
            }
            _ => {
                let extensions = extensions_of(request)?;
                let made = group.propose_group_context_extensions(provider, extensions, &self.signer);
                made.map(|made| made.0).map_err(text)
            }
        }
    }

    fn commit(&mut self, request: &Request) -> Answer {
        let mut proposals = Vec::new();
        for id in request.bytes_list("psks")? {
            proposals.push(Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(self.external_psk(id)?))));
        }
        for epoch in request.numbers("resumption_psks")? {
            proposals.push(Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(self.resumption_psk(epoch)?))));
        }
        let packages =
            request.bytes_list("add")?.into_iter().map(|each| self.package_of(each)).collect::<Result<Vec<_>, _>>()?;
        let removed = request.numbers("remove")?.into_iter().map(|leaf| LeafNodeIndex::new(leaf as u32));
        let outside = request.0["tree_in_welcome"].as_bool() == Some(false);
        let group = self.group.as_mut().ok_or("no group")?;
        group.set_aad(request.bytes_or_empty("authenticated_data")?);
        let mut builder = group
            .commit_builder()
            .force_self_update(request.flag("force_path"))
            .propose_adds(packages)
            .propose_removals(removed)
            .add_proposals(proposals);
        if request.has("extensions") {
            builder = builder.propose_group_context_extensions(extensions_of(request)?).map_err(text)?;
        }
        let made = builder
            .load_psks(self.provider.storage())
            .map_err(text)?
            .create_group_info(true)
            .use_ratchet_tree_extension(!outside)
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true)
            .map_err(text)?
            .stage_commit(&self.provider)
            .map_err(text)?;
        let mut reply = json!({"commit": hex_of(made.commit())?});
        if let Some(welcome) = made.to_welcome_msg() {
            reply["welcome"] = json!(hex_of(&welcome)?);
        }
        if outside {
            let staged = group.pending_commit().ok_or("no pending commit")?;
            let tree = staged.export_ratchet_tree(self.provider.crypto(), group.export_ratchet_tree());
            let tree = tree.map_err(text)?.ok_or("no tree")?;
            reply["tree"] = json!(to_hex(&tree.tls_serialize_detached().map_err(text)?));
        }
        if request.flag("accept") {
            group.merge_pending_commit(&self.provider).map_err(text)?;
        }
        Ok(reply)
    }

    fn process(&mut self, request: &Request) -> Answer {
        let incoming = message(request.bytes("message")?)?.try_into_protocol_message().map_err(text)?;
        let group = self.group.as_mut().ok_or("no group")?;
        let processed = group.process_message(&self.provider, incoming).map_err(text)?;
        let data = to_hex(processed.aad());
        Ok(match processed.into_content() {
            ProcessedMessageContent::ApplicationMessage(application) => {
                json!({"kind": "application", "plaintext": to_hex(&application.into_bytes()),
                       "authenticated_data": data})
            }
            ProcessedMessageContent::ProposalMessage(proposal) => {
                group.store_pending_proposal(self.provider.storage(), *proposal).map_err(text)?;
                json!({"kind": "proposal"})
            }
            ProcessedMessageContent::ExternalJoinProposalMessage(proposal) => {
                group.store_pending_proposal(self.provider.storage(), *proposal).map_err(text)?;
                json!({"kind": "proposal"})
            }
            ProcessedMessageContent::StagedCommitMessage(staged) => {
                let removed = staged.self_removed();
                group.merge_staged_commit(&self.provider, *staged).map_err(text)?;
                json!({"kind": "commit", "removes_me": removed})
            }
            _ => {
                group.merge_pending_commit(&self.provider).map_err(text)?;
                json!({"kind": "own_commit"})
            }
        })
    }

    // Of the GroupInfo that it exports: it tells its tree hash nowhere else.
    fn tree_hash(&self) -> Result<String, String> {
        let group = self.group.as_ref().ok_or("no group")?;
        let made = group.export_group_info(self.provider.crypto(), &self.signer, false).map_err(text)?;
        match message(made.to_bytes().map_err(text)?)?.extract() {
            MlsMessageBodyIn::GroupInfo(info) => Ok(to_hex(info.group_context().tree_hash())),
            _ => Err("not a GroupInfo".into()),
        }
    }

    fn state(&mut self) -> Answer {
        let tree_hash = self.tree_hash()?;
        let group = self.group()?;
        let members: Vec<_> = group.members()
            .map(|member| {
                let name = BasicCredential::try_from(member.credential).map(|basic| basic.identity().to_vec());
                json!({"leaf": member.index.u32(), "name": String::from_utf8_lossy(&name.unwrap_or_default())})
            })
            .collect();
        Ok(json!({"epoch": group.epoch().as_u64(), "tree_hash": tree_hash, "members": members,
                  "own_leaf": group.own_leaf_index().u32(),
                  "epoch_authenticator": to_hex(group.epoch_authenticator().as_slice())}))
    }

    fn answer(&mut self, op: &str, request: &Request) -> Answer {
        match op {
            "key_package" => self.key_package(),
            "psk" => {
                let id = self.external_psk(request.bytes("psk_id")?)?;
                id.store(&self.provider, &request.bytes("secret")?).map(|()| json!({})).map_err(text)
            }
            "create" => self.create(request),
            "join" => self.join(request),
            "external_join" => self.external_join(request),
            "add" | "update" | "remove" | "propose_psk" | "propose_extensions" => self.propose(op, request),
            "propose_join" => self.propose_join(request),
            "external_proposal" => self.external_proposal(request),
            "commit" => self.commit(request),
            "accept" => {
                let group = self.group.as_mut().ok_or("no group")?;
                group.merge_pending_commit(&self.provider).map(|()| json!({})).map_err(text)
            }
            "refuse" => {
                let group = self.group.as_mut().ok_or("no group")?;
                group.clear_pending_commit(self.provider.storage()).map(|()| json!({})).map_err(text)
            }
            "process" => self.process(request),
            "protect" => {
                let group = self.group.as_mut().ok_or("no group")?;
                group.set_aad(request.bytes_or_empty("authenticated_data")?);
                let made = group.create_message(&self.provider, &self.signer, &request.bytes("plaintext")?);
                Ok(json!({"message": hex_of(&made.map_err(text)?)?}))
            }
            "export" => {
                let group = self.group.as_mut().ok_or("no group")?;
                let (context, size) = (request.bytes("context")?, request.number("size")? as usize);
                let made = group.export_secret(self.provider.crypto(), request.string("label")?, &context, size);
                Ok(json!({"secret": to_hex(&made.map_err(text)?)}))
            }
            "group_info" => {
                let group = self.group.as_mut().ok_or("no group")?;
                let made = group.export_group_info(self.provider.crypto(), &self.signer, true).map_err(text)?;
                Ok(json!({"group_info": hex_of(&made)?}))
            }
            "state" => self.state(),
            "leave" => self.forget().map(|()| json!({})),
            _ => Err(format!("no such op: {op}")),
        }
    }
}

fn main() {
    let mut member: Option<Member> = None;
    serve(|op, request| {
        if op == "identity" {
            let made = Member::new(request)?;
            let key = to_hex(made.credential.signature_key.as_slice());
            member = Some(made);
            return Ok(json!({"signature_key": key}));
        }
        member.as_mut().ok_or("begin with op identity")?.answer(op, request)
    });
}
