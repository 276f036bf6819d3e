use cqrs_es::test::TestFramework;

use super::*;

fn events(past: Vec<TokenEvent>, command: TokenCommand) -> usize {
    TestFramework::<Token>::with(()).given(past).when(command).inspect_result().unwrap().len()
}

#[test]
fn it_is_issued_once_and_revoked_once_also_where_the_log_does_not_know_it() {
    let [issued, revoked] = &samples::samples()[..] else { unreachable!() };
    let (TokenEvent::TokenIssued(issue), TokenEvent::TokenRevoked(said)) = (issued, revoked) else { unreachable!() };
    let (issue, revoke) = (TokenCommand::Issue(issue.clone()), TokenCommand::Revoke(said.clone()));
    assert_eq!(events(vec![], issue.clone()), 1);
    assert_eq!(events(vec![issued.clone()], issue), 0);
    assert_eq!(events(vec![issued.clone()], revoke.clone()), 1);
    assert_eq!(events(vec![issued.clone(), revoked.clone()], revoke.clone()), 0);
    assert_eq!(events(vec![], revoke), 1);
}

#[test]
fn stored_bytes_are_held() {
    crate::samples::hold("token", &samples::samples(), &[]);
}
