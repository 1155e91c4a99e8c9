"""Alerts of KubeVirt and its operators whose runbooks are published: a link is made for these names and no others."""

from __future__ import annotations

OPENSHIFT = "https://github.com/openshift/runbooks/blob/master/alerts/openshift-virtualization-operator/{}.md"
UPSTREAM = "https://kubevirt.io/monitoring/runbooks/{}"

_NAMES_OF_BOTH = """
    CDIDataImportCronOutdated CDIDataVolumeUnusualRestartCount CDIDefaultStorageClassDegraded
    CDIMultipleDefaultVirtStorageClasses CDINoDefaultStorageClass CDINotReady CDIOperatorDown
    CDIStorageProfilesIncomplete CnaoDown DeprecatedMachineType GuestFilesystemAlmostOutOfSpace
    GuestVCPUQueueHighCritical GuestVCPUQueueHighWarning HAControlPlaneDown HCOGoldenImageWithNoArchitectureAnnotation
    HCOGoldenImageWithNoSupportedArchitecture HCOInstallationIncomplete HCOMisconfiguredDescheduler
    HCOMultiArchGoldenImagesDisabled HCOOperatorConditionsUnhealthy HPPNotReady HPPOperatorDown
    HPPSharingPoolPathWithOS HighCPUWorkload HighNodeCPUFrequency KubeVirtCRModified KubeVirtDeprecatedAPIRequested
    KubeVirtNoAvailableNodesToRunVMs KubeVirtVMGuestMemoryAvailableLow KubeVirtVMGuestMemoryPressure
    KubeVirtVMIExcessiveMigrations KubeVirtVMStuckInErrorState KubeVirtVMStuckInMigratingState
    KubeVirtVMStuckInStartingState KubemacpoolDown KubemacpoolMACCollisionDetected LowKVMNodesCount
    LowReadyVirtControllersCount LowReadyVirtHandlerCount LowReadyVirtOperatorsCount LowVirtAPICount
    LowVirtControllersCount LowVirtOperatorCount NetworkAddonsConfigNotReady NoLeadingVirtOperator
    NoReadyVirtController NoReadyVirtHandler NoReadyVirtOperator NodeNetworkInterfaceDown
    OrphanedVirtualMachineInstances OutdatedVirtualMachineInstanceWorkloads PersistentVolumeFillingUp SSPDown
    SSPFailingToReconcile SSPHighRateRejectedVms SSPTemplateValidatorDown UnsupportedHCOModification VMCannotBeEvicted
    VMNonRecoverableOSPanic VMStorageClassWarning VirtAPIDown VirtApiRESTErrorsBurst VirtControllerDown
    VirtControllerRESTErrorsBurst VirtHandlerDaemonSetRolloutFailing VirtHandlerDown VirtHandlerRESTErrorsBurst
"""
_BOTH = frozenset(_NAMES_OF_BOTH.split())
_NAMES_OF_OPENSHIFT = """
    ClusterVMPanicDetected LowReadyVirtAPICount NoLeadingVirtController NoReadyVirtAPI VirtLauncherPodsStuckFailed
    VirtOperatorDown VirtOperatorRESTErrorsBurst VirtualMachineStuckInUnhealthyState VirtualMachineStuckOnNode
"""
_OPENSHIFT_ONLY = frozenset(_NAMES_OF_OPENSHIFT.split())
_UPSTREAM_ONLY = frozenset({"VirtPlatformAutopilotRenderFailed"})


def published(alertname: str, *, openshift: bool) -> str:
    """Return the address of a published runbook, or the empty string."""
    if openshift and alertname in _BOTH | _OPENSHIFT_ONLY:
        return OPENSHIFT.format(alertname)
    if alertname in _BOTH | _UPSTREAM_ONLY:
        return UPSTREAM.format(alertname)
    return ""
