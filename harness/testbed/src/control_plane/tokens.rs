//! Tokens of the server that can be revoked.

use anyhow::{Context as _, Result};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

use super::rights::{NAME, Scope};
use super::{ControlPlane, rights};

/// A token of the server with the rights of [`Scope::Cluster`]. It ends with the Secret that it is bound to.
#[derive(Debug)]
pub struct BoundToken {
    /// The token.
    pub text: String,
    secret: String,
}

impl BoundToken {
    /// Issues a token.
    pub async fn issue(control_plane: &ControlPlane) -> Result<Self> {
        let client = control_plane.admin().await?;
        rights::grant(&client, &Scope::Cluster).await?;
        let secret = format!("token-{:08x}", fastrand::u32(..));
        let object = serde_json::from_value(json!({ "metadata": { "name": secret } }))?;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), NAME);
        let uid = secrets.create(&PostParams::default(), &object).await?.metadata.uid;
        let bound = json!({ "apiVersion": "v1", "kind": "Secret", "name": secret, "uid": uid });
        let request: TokenRequest =
            serde_json::from_value(json!({ "spec": { "audiences": [], "boundObjectRef": bound } }))?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client, NAME);
        let answer = accounts.create_token_request(NAME, &PostParams::default(), &request).await?;
        Ok(Self { text: answer.status.context("the API server returned no token")?.token, secret })
    }

    /// Revokes it. API servers accept it for some seconds more.
    pub async fn revoke(&self, control_plane: &ControlPlane) -> Result<()> {
        let secrets: Api<Secret> = Api::namespaced(control_plane.admin().await?, NAME);
        secrets.delete(&self.secret, &DeleteParams::default()).await?;
        Ok(())
    }
}
