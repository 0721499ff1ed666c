// PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (317453), chapter 13, for the 82540EM.
export const CTRL = 0x0000;
export const STATUS = 0x0008;
export const EECD = 0x0010;
export const EERD = 0x0014;
export const CTRL_EXT = 0x0018;
export const MDIC = 0x0020;
export const FCAL = 0x0028;
export const FCAH = 0x002c;
export const FCT = 0x0030;
export const VET = 0x0038;
export const ICR = 0x00c0;
export const ITR = 0x00c4;
export const ICS = 0x00c8;
export const IMS = 0x00d0;
export const IMC = 0x00d8;
export const RCTL = 0x0100;
export const FCTTV = 0x0170;
export const TXCW = 0x0178;
export const RXCW = 0x0180;
export const TCTL = 0x0400;
export const TIPG = 0x0410;
export const AIFS = 0x0458;
export const LEDCTL = 0x0e00;
export const PBA = 0x1000;
export const FCRTL = 0x2160;
export const FCRTH = 0x2168;
export const RDBAL = 0x2800;
export const RDBAH = 0x2804;
export const RDLEN = 0x2808;
export const RDH = 0x2810;
export const RDT = 0x2818;
export const RDTR = 0x2820;
export const RXDCTL = 0x2828;
export const RADV = 0x282c;
export const RSRPD = 0x2c00;
export const TXDMAC = 0x3000;
export const TDBAL = 0x3800;
export const TDBAH = 0x3804;
export const TDLEN = 0x3808;
export const TDH = 0x3810;
export const TDT = 0x3818;
export const TIDV = 0x3820;
export const TXDCTL = 0x3828;
export const TADV = 0x382c;
export const TSPMT = 0x3830;
export const STATISTICS = 0x4000;
export const STATISTICS_END = 0x4100;
export const RXCSUM = 0x5000;
export const MTA = 0x5200;
export const MTA_END = 0x5400;
export const RAL = 0x5400;
export const RA_END = 0x5480;
export const VFTA = 0x5600;
export const VFTA_END = 0x5800;
export const WUC = 0x5800;
export const WUFC = 0x5808;
export const WUS = 0x5810;
export const MANC = 0x5820;
export const WUPL = 0x5900;
export const WUPM = 0x5a00;
export const FFLT = 0x5f00;
/** Packet buffer memory, open to the guest. */
export const PBM = 0x1_0000;
export const REGISTER_BYTES = 0x2_0000;

export const CTRL_LRST = 1 << 3;
export const CTRL_SLU = 1 << 6;
export const CTRL_RST = 1 << 26;
export const CTRL_VME = 1 << 30;
export const CTRL_PHY_RST = 0x8000_0000;

export const STATUS_FD = 1 << 0;
export const STATUS_LU = 1 << 1;
export const STATUS_SPEED_1000 = 2 << 6;

export const EECD_SK = 1 << 0;
export const EECD_CS = 1 << 1;
export const EECD_DI = 1 << 2;
export const EECD_DO = 1 << 3;
export const EECD_FWE = 3 << 4;
export const EECD_REQ = 1 << 6;
export const EECD_GNT = 1 << 7;
export const EECD_PRES = 1 << 8;

export const EERD_START = 1 << 0;
export const EERD_DONE = 1 << 4;

export const MDIC_READY = 1 << 28;
export const MDIC_ERROR = 1 << 30;

export const INT_TXDW = 1 << 0;
export const INT_TXQE = 1 << 1;
export const INT_LSC = 1 << 2;
export const INT_RXDMT0 = 1 << 4;
export const INT_RXO = 1 << 6;
export const INT_RXT0 = 1 << 7;
export const INT_MDAC = 1 << 9;
export const INT_TXD_LOW = 1 << 15;
export const INT_ALL = 0x0001_ffff;

export const RCTL_EN = 1 << 1;
export const RCTL_UPE = 1 << 3;
export const RCTL_MPE = 1 << 4;
export const RCTL_LPE = 1 << 5;
export const RCTL_LBM = 3 << 6;
export const RCTL_BAM = 1 << 15;
export const RCTL_VFE = 1 << 18;
export const RCTL_CFIEN = 1 << 19;
export const RCTL_CFI = 1 << 20;
export const RCTL_BSEX = 1 << 25;
export const RCTL_SECRC = 1 << 26;

export const TCTL_EN = 1 << 1;
export const TCTL_PSP = 1 << 3;

export const RXCSUM_IPOFL = 1 << 8;
export const RXCSUM_TUOFL = 1 << 9;

// Statistics, 13.7: offsets from STATISTICS.
export const STAT_MPC = 0x10;
export const STAT_PRC64 = 0x5c;
export const STAT_GPRC = 0x74;
export const STAT_BPRC = 0x78;
export const STAT_MPRC = 0x7c;
export const STAT_GPTC = 0x80;
export const STAT_GORCL = 0x88;
export const STAT_GOTCL = 0x90;
export const STAT_RNBC = 0xa0;
export const STAT_RUC = 0xa4;
export const STAT_ROC = 0xac;
export const STAT_TORL = 0xc0;
export const STAT_TOTL = 0xc8;
export const STAT_TPR = 0xd0;
export const STAT_TPT = 0xd4;
export const STAT_PTC64 = 0xd8;
export const STAT_MPTC = 0xf0;
export const STAT_BPTC = 0xf4;
export const STAT_TSCTC = 0xf8;

/** Registers that hold what is written: offset and the bits that can be. */
export const PLAIN: ReadonlyMap<number, number> = new Map([
  [CTRL_EXT, 0xffff_ffff], [FCAL, 0xffff_ffff], [FCAH, 0xffff], [FCT, 0xffff], [VET, 0xffff], [FCTTV, 0xffff], [TXCW, 0xffff_ffff], [TIPG, 0x3fff_ffff], [AIFS, 0xffff],
  [LEDCTL, 0xffff_ffff], [PBA, 0xffff_ffff], [FCRTL, 0xffff_ffff], [FCRTH, 0xffff], [RDTR, 0xffff], [RXDCTL, 0xffff_ffff], [RADV, 0xffff], [RSRPD, 0xfff],
  [TXDMAC, 0xff], [TIDV, 0xffff], [TXDCTL, 0xffff_ffff], [TADV, 0xffff], [TSPMT, 0xffff_ffff], [RXCSUM, 0x7ff], [WUC, 0xf], [WUFC, 0xf_80ff], [MANC, 0xffff_ffff],
  [RDBAL, 0xffff_fff0], [RDBAH, 0xffff_ffff], [RDLEN, 0xf_ff80], [TDBAL, 0xffff_fff0], [TDBAH, 0xffff_ffff], [TDLEN, 0xf_ff80], [0x0f00, 0xffff_ffff],
  [0x0420, 0xffff_ffff], [0x0f08, 0xffff_ffff],
]);
