//! Members that are taken out of their groups.

use ottla_wire::messages::{LeaveGroupRequest, leave_group_request};

use super::{Admin, GroupMemberDescription, Results, check};
use crate::Target;
use crate::error::ClientError;

impl Admin {
    /// Takes members out of a classic group, with what is to be logged about it: for those that are gone and that nobody has missed
    /// yet. By member id.
    pub async fn remove_group_members(
        &self,
        group: &str,
        members: &[GroupMemberDescription],
        reason: &str,
    ) -> Result<Results<String, ()>, ClientError> {
        let identity = |member: &GroupMemberDescription| leave_group_request::Member {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            reason: Some(reason.to_owned()),
            ..Default::default()
        };
        let request = LeaveGroupRequest {
            group_id: group.to_owned(),
            members: members.iter().map(identity).collect(),
            ..Default::default()
        };
        let answer = self.ask(Target::group(group), &request, |answer| answer.error_code).await?;
        check(answer.error_code, None, || format!("removing members of group {group}"))?;
        let results = answer.members.into_iter().map(|member| {
            let what = || format!("removing member {} of group {group}", member.member_id);
            let result = check(member.error_code, None, what);
            (member.member_id, result)
        });
        Ok(results.collect())
    }
}
