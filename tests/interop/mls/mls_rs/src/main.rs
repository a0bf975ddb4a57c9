// mls-rs behind the requests of `slipway-mls client`, as far as the tests need them.
#[path = "../../protocol.rs"]
mod protocol;

use mls_rs::client_builder::MlsConfig;
use mls_rs::crypto::SignatureSecretKey;
use mls_rs::external_client::ExternalClient;
use mls_rs::group::proposal::Proposal;
use mls_rs::group::{CommitEffect, ExportedTree, ReceivedMessage, Roster};
use mls_rs::identity::basic::{BasicCredential, BasicIdentityProvider};
use mls_rs::identity::SigningIdentity;
use mls_rs::mls_rules::{CommitDirection, CommitOptions, CommitSource, EncryptionOptions, ProposalBundle};
use mls_rs::psk::{ExternalPskId, PreSharedKey};
use mls_rs::storage_provider::in_memory::InMemoryPreSharedKeyStorage;
use mls_rs::{CipherSuite, CipherSuiteProvider, Client, CryptoProvider, ExtensionList, Group, MlsMessage, MlsRules};
use mls_rs::{Extension, ProtocolVersion};
use mls_rs_crypto_openssl::OpensslCryptoProvider;
use protocol::{from_hex, serve, text, to_hex, Answer, Request};
use serde_json::json;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// What a request decides: wire format, and whether a commit must have a path.
#[derive(Clone, Default)]
struct Rules {
    encrypt: Arc<AtomicBool>,
    path: Arc<AtomicBool>,
    tree_outside: Arc<AtomicBool>,
}

impl MlsRules for Rules {
    type Error = Infallible;

    fn filter_proposals(
        &self,
        _: CommitDirection,
        _: CommitSource,
        _: &Roster,
        _: &mls_rs::group::GroupContext,
        proposals: ProposalBundle,
    ) -> Result<ProposalBundle, Infallible> {
        Ok(proposals)
    }

    fn commit_options(
        &self,
        _: &Roster,
        _: &mls_rs::group::GroupContext,
        _: &ProposalBundle,
    ) -> Result<CommitOptions, Infallible> {
        Ok(CommitOptions::new()
            .with_path_required(self.path.load(Ordering::Relaxed))
            .with_ratchet_tree_extension(!self.tree_outside.load(Ordering::Relaxed)))
    }

    fn encryption_options(&self, _: &Roster, _: &mls_rs::group::GroupContext) -> Result<EncryptionOptions, Infallible> {
        let padding = mls_rs::client_builder::PaddingMode::None;
        Ok(EncryptionOptions::new(self.encrypt.load(Ordering::Relaxed), padding))
    }
}

struct Member<C: MlsConfig> {
    client: Client<C>,
    group: Option<Group<C>>,
    rules: Rules,
    psks: InMemoryPreSharedKeyStorage,
    suite: CipherSuite,
    secret: SignatureSecretKey,
    identity: SigningIdentity,
}

fn message(bytes: Vec<u8>) -> Result<MlsMessage, String> {
    MlsMessage::from_bytes(&bytes).map_err(text)
}

fn hex_of(message: &MlsMessage) -> Result<String, String> {
    Ok(to_hex(&message.to_bytes().map_err(text)?))
}

fn tree_of(request: &Request) -> Result<Option<ExportedTree<'static>>, String> {
    if !request.has("tree") {
        return Ok(None);
    }
    Ok(Some(ExportedTree::from_bytes(&request.bytes("tree")?).map_err(text)?))
}

fn new_group_of(request: &Request) -> Result<Vec<u8>, String> {
    from_hex(request.0["reinit"]["group_id"].as_str().ok_or("group_id must be text")?)
}

fn extensions_of(request: &Request) -> Result<ExtensionList, String> {
    let mut list = ExtensionList::new();
    for each in request.0["extensions"].as_array().into_iter().flatten() {
        let number = each["type"].as_u64().ok_or("type must be a number")? as u16;
        list.set(Extension::new(number.into(), from_hex(each["data"].as_str().ok_or("data must be text")?)?));
    }
    Ok(list)
}

impl<C: MlsConfig + Clone> Member<C> {
    fn group(&mut self) -> Result<&mut Group<C>, String> {
        self.group.as_mut().ok_or("no group".to_string())
    }

    fn keep(&mut self, group: Group<C>) -> Answer {
        let reply = json!({"group": to_hex(group.group_id()), "epoch": group.current_epoch(),
                           "own_leaf": group.current_member_index()});
        self.group = Some(group);
        Ok(reply)
    }

    fn join(&mut self, request: &Request) -> Answer {
        let welcome = message(request.bytes("welcome")?)?;
        let tree = tree_of(request)?;
        let joined = if request.has("predecessor") {
            let old = self.group.take().ok_or("no group")?;
            match request.string("usage")? {
                "reinit" => old.get_reinit_client(None, None).map_err(text)?.join(&welcome, tree, None),
                _ => old.join_subgroup(&welcome, tree, None),
            }
        } else {
            self.client.join_group(tree, &welcome, None)
        };
        self.keep(joined.map_err(text)?.0)
    }

    // Makes the group that continues this one, or branches from it, and adds the others.
    fn successor(&mut self, request: &Request) -> Answer {
        let packages = request.bytes_list("key_packages")?.into_iter().map(message).collect::<Result<Vec<_>, _>>()?;
        let old = self.group.take().ok_or("no group")?;
        let made = match request.string("usage")? {
            "reinit" => {
                old.get_reinit_client(None, None).map_err(text)?.commit(packages, ExtensionList::new(), None)
            }
            _ => old.branch(request.bytes("group_id")?, packages, None),
        };
        let (group, welcomes) = made.map_err(text)?;
        let mut reply = self.keep(group)?;
        reply["welcome"] = json!(hex_of(&welcomes[0])?);
        Ok(reply)
    }

    fn external_join(&mut self, request: &Request) -> Answer {
        let mut builder = self.client.external_commit_builder().map_err(text)?;
        if let Some(tree) = tree_of(request)? {
            builder = builder.with_tree_data(tree);
        }
        if request.has("remove") {
            builder = builder.with_removal(request.number("remove")? as u32);
        }
        for id in request.bytes_list("psks")? {
            builder = builder.with_external_psk(ExternalPskId::new(id));
        }
        builder = builder.with_authenticated_data(request.bytes_or_empty("authenticated_data")?);
        let (group, commit) = builder.build(message(request.bytes("group_info")?)?).map_err(text)?;
        let mut reply = self.keep(group)?;
        reply["commit"] = json!(hex_of(&commit)?);
        Ok(reply)
    }

    // An Add by the new member itself.
    fn propose_join(&mut self, request: &Request) -> Answer {
        let (info, data) = (message(request.bytes("group_info")?)?, request.bytes_or_empty("authenticated_data")?);
        let (none, nothing) = (ExtensionList::new(), ExtensionList::new());
        let made = self.client.external_add_proposal(&info, tree_of(request)?, data, none, nothing, None);
        Ok(json!({"proposal": hex_of(&made.map_err(text)?)?}))
    }

    // An Add or a Remove by somebody outside whom the group's external_senders name.
    fn external_proposal(&mut self, request: &Request) -> Answer {
        let data = request.bytes_or_empty("authenticated_data")?;
        let mut outside = ExternalClient::builder()
            .identity_provider(BasicIdentityProvider)
            .crypto_provider(OpensslCryptoProvider::new())
            .signer(self.secret.clone(), self.identity.clone())
            .build()
            .observe_group(message(request.bytes("group_info")?)?, tree_of(request)?, None)
            .map_err(text)?;
        let made = if request.has("key_package") {
            outside.propose_add(message(request.bytes("key_package")?)?, data)
        } else {
            outside.propose_remove(request.number("leaf")? as u32, data)
        };
        Ok(json!({"proposal": hex_of(&made.map_err(text)?)?}))
    }

    fn propose(&mut self, op: &str, request: &Request) -> Answer {
        let data = request.bytes_or_empty("authenticated_data")?;
        let suite = self.suite;
        let group = self.group()?;
        let proposal = match op {
            "add" => group.propose_add(message(request.bytes("key_package")?)?, data),
            "update" => group.propose_update(data),
            "remove" => group.propose_remove(request.number("leaf")? as u32, data),
            "propose_psk" => group.propose_external_psk(ExternalPskId::new(request.bytes("psk_id")?), data),
            "propose_resumption_psk" => group.propose_resumption_psk(request.number("psk_epoch")?, data),
            "propose_extensions" => group.propose_group_context_extensions(extensions_of(request)?, data),
            _ => group.propose_reinit(
                Some(new_group_of(request)?), ProtocolVersion::MLS_10, suite, ExtensionList::new(), data),
        };
        Ok(json!({"proposal": hex_of(&proposal.map_err(text)?)?}))
    }

    fn commit(&mut self, request: &Request) -> Answer {
        self.rules.path.store(request.flag("force_path"), Ordering::Relaxed);
        let outside = request.0["tree_in_welcome"].as_bool() == Some(false);
        self.rules.tree_outside.store(outside, Ordering::Relaxed);
        let suite = self.suite;
        let group = self.group()?;
        let mut builder = group.commit_builder().authenticated_data(request.bytes_or_empty("authenticated_data")?);
        for package in request.bytes_list("add")? {
            builder = builder.add_member(message(package)?).map_err(text)?;
        }
        for leaf in request.numbers("remove")? {
            builder = builder.remove_member(leaf as u32).map_err(text)?;
        }
        for id in request.bytes_list("psks")? {
            builder = builder.add_external_psk(ExternalPskId::new(id)).map_err(text)?;
        }
        for epoch in request.numbers("resumption_psks")? {
            builder = builder.add_resumption_psk(epoch).map_err(text)?;
        }
        if request.has("extensions") {
            builder = builder.set_group_context_ext(extensions_of(request)?).map_err(text)?;
        }
        if request.has("reinit") {
            let id = new_group_of(request)?;
            builder = builder.reinit(Some(id), ProtocolVersion::MLS_10, suite, ExtensionList::new()).map_err(text)?;
        }
        let made = builder.build().map_err(text)?;
        let mut reply = json!({"commit": hex_of(&made.commit_message)?, "has_path": made.contains_update_path,
                               "left_out": made.unused_proposals.len()});
        if let Some(welcome) = made.welcome_messages.first() {
            reply["welcome"] = json!(hex_of(welcome)?);
        }
        if let Some(tree) = &made.ratchet_tree {
            reply["tree"] = json!(to_hex(&tree.to_bytes().map_err(text)?));
        }
        if request.flag("accept") {
            group.apply_pending_commit().map_err(text)?;
        }
        Ok(reply)
    }

    fn process(&mut self, request: &Request) -> Answer {
        let incoming = message(request.bytes("message")?)?;
        Ok(match self.group()?.process_incoming_message(incoming).map_err(text)? {
            ReceivedMessage::ApplicationMessage(m) => json!({"kind": "application", "plaintext": to_hex(m.data()),
                "authenticated_data": to_hex(&m.authenticated_data), "sender": m.sender_index}),
            ReceivedMessage::Proposal(p) => json!({"kind": "proposal",
                "update": matches!(p.proposal, Proposal::Update(_))}),
            ReceivedMessage::Commit(c) => json!({"kind": "commit", "committer": c.committer,
                "removes_me": matches!(c.effect, CommitEffect::Removed { .. })}),
            _ => return Err("not a message of a group".into()),
        })
    }

    fn state(&mut self) -> Answer {
        let group = self.group()?;
        let members: Vec<_> = group.roster().members_iter()
            .map(|member| {
                let name = member.signing_identity.credential.as_basic().map(|basic| basic.identifier.clone());
                json!({"leaf": member.index, "name": String::from_utf8_lossy(&name.unwrap_or_default())})
            })
            .collect();
        Ok(json!({"epoch": group.current_epoch(), "tree_hash": to_hex(&group.context().tree_hash),
                  "own_leaf": group.current_member_index(), "members": members,
                  "epoch_authenticator": to_hex(&group.epoch_authenticator().map_err(text)?)}))
    }

    fn answer(&mut self, op: &str, request: &Request) -> Answer {
        match op {
            "key_package" => {
                let made = self.client.generate_key_package_message(ExtensionList::new(), ExtensionList::new(), None);
                Ok(json!({"key_package": hex_of(&made.map_err(text)?)?}))
            }
            "psk" => {
                let secret = PreSharedKey::new(request.bytes("secret")?);
                self.psks.insert(ExternalPskId::new(request.bytes("psk_id")?), secret);
                Ok(json!({}))
            }
            "create" => {
                let made = self.client.create_group_with_id(
                    request.bytes("group_id")?, extensions_of(request)?, ExtensionList::new(), None);
                self.keep(made.map_err(text)?)
            }
            "join" => self.join(request),
            "successor" => self.successor(request),
            "external_join" => self.external_join(request),
            "add" | "update" | "remove" | "propose_psk" | "propose_resumption_psk" | "propose_extensions"
            | "propose_reinit" => self.propose(op, request),
            "propose_join" => self.propose_join(request),
            "external_proposal" => self.external_proposal(request),
            "commit" => self.commit(request),
            "accept" => self.group()?.apply_pending_commit().map(|_| json!({})).map_err(text),
            "refuse" => {
                self.group()?.clear_pending_commit();
                Ok(json!({}))
            }
            "process" => self.process(request),
            "protect" => {
                let data = request.bytes_or_empty("authenticated_data")?;
                let made = self.group()?.encrypt_application_message(&request.bytes("plaintext")?, data);
                Ok(json!({"message": hex_of(&made.map_err(text)?)?}))
            }
            "export" => {
                let size = request.number("size")? as usize;
                let label = request.string("label")?.as_bytes();
                let secret = self.group()?.export_secret(label, &request.bytes("context")?, size).map_err(text)?;
                Ok(json!({"secret": to_hex(secret.as_bytes())}))
            }
            "group_info" => {
                let made = self.group()?.group_info_message_allowing_ext_commit(true).map_err(text)?;
                Ok(json!({"group_info": hex_of(&made)?}))
            }
            "tree" => Ok(json!({"tree": to_hex(&self.group()?.export_tree().to_bytes().map_err(text)?)})),
            "state" => self.state(),
            "leave" => {
                self.group = None;
                Ok(json!({}))
            }
            _ => Err(format!("no such op: {op}")),
        }
    }
}

type Verbs = Box<dyn FnMut(&str, &Request) -> Answer>;

fn boxed<C: MlsConfig + Clone + 'static>(mut member: Member<C>) -> Verbs {
    Box::new(move |op, request| member.answer(op, request))
}

fn identity(request: &Request) -> Result<(Verbs, Vec<u8>), String> {
    let crypto = OpensslCryptoProvider::new();
    let suite = CipherSuite::new(request.number("suite")? as u16);
    let provider = crypto.cipher_suite_provider(suite).ok_or("suite is not supported")?;
    let (secret, public) = provider.signature_key_generate().map_err(text)?;
    let credential = BasicCredential::new(request.string("name")?.as_bytes().to_vec());
    let rules = Rules::default();
    rules.encrypt.store(request.0["wire_format"].as_str() != Some("public"), Ordering::Relaxed);
    let psks = InMemoryPreSharedKeyStorage::default();
    let types = request.numbers("extension_types")?.into_iter().map(|number| (number as u16).into());
    let key = public.as_ref().to_vec();
    let identity = SigningIdentity::new(credential.into_credential(), public);
    let client = Client::builder()
        .identity_provider(BasicIdentityProvider)
        .crypto_provider(crypto)
        .psk_store(psks.clone())
        .mls_rules(rules.clone())
        .extension_types(types)
        .signing_identity(identity.clone(), secret.clone(), suite)
        .build();
    Ok((boxed(Member { client, group: None, rules, psks, suite, secret, identity }), key))
}

fn main() {
    let mut verbs: Option<Verbs> = None;
    serve(|op, request| {
        if op == "identity" {
            let (made, key) = identity(request)?;
            verbs = Some(made);
            return Ok(json!({"signature_key": to_hex(&key)}));
        }
        verbs.as_mut().ok_or("begin with op identity")?(op, request)
    });
}
